"""
What botocore makes anew for each session, made once for a process and for what it forks.

Every hook makes a session of its own, and each would list and parse the service models, register its event handlers and
build the classes of its clients anew: together most of what a short test takes.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import boto3
from botocore.client import ClientCreator
from botocore.hooks import EventAliaser, HierarchicalEmitter, NodeList, _PrefixTrie
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

_list = functools.cache(Loader().list_available_services)
_parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))


def load_once(_: JSONFileLoader, file_path: str) -> object:
    """Stand in for ``JSONFileLoader.load_file``."""
    return _parse(file_path)


def list_once(_: Loader, type_name: str) -> object:
    """Stand in for ``Loader.list_available_services``."""
    return _list(type_name)


_register = Session._register_builtin_handlers
_create_class = ClientCreator._create_client_class


_handlers: dict[type, HierarchicalEmitter] = {}


def register_once(session: Session, events: EventAliaser) -> None:
    """Stand in for ``Session._register_builtin_handlers``: copying an emitter takes a tenth of registering anew."""
    kind = type(session)  # aiobotocore's sessions have another kind of emitter
    if kind not in _handlers:
        _register(session, events)
        _handlers[kind] = copy.copy(session._original_handler)
        return
    session._original_handler = copy.copy(_handlers[kind])
    session._events = EventAliaser(session._original_handler)


_classes: dict[str, Any] = {}


def create_class_once(creator: ClientCreator, service_name: str, service_model: Any) -> Any:
    """Stand in for ``ClientCreator._create_client_class``."""
    if service_name not in _classes:
        _classes[service_name] = _create_class(creator, service_name, service_model)
    return _classes[service_name]


_load_model = ClientCreator._load_service_model
_models: dict[tuple[str, str | None], Any] = {}


def load_model_once(creator: ClientCreator, service_name: str, api_version: str | None = None) -> Any:
    """Stand in for ``ClientCreator._load_service_model``: a model parses its 800 operations when it is first asked."""
    key = (service_name, api_version)
    if key not in _models:
        _models[key] = _load_model(creator, service_name, api_version)
    return _models[key]


def copy_handlers(trie: Any, node: dict[str, Any]) -> dict[str, Any]:
    """Stand in for ``_PrefixTrie._recursive_copy``: without the general protocol of copies for 250 short lists."""
    copied = node.copy()
    for key, value in node.items():
        if isinstance(value, dict):
            copied[key] = copy_handlers(trie, value)
        elif isinstance(value, NodeList):
            copied[key] = NodeList(value.first[:], value.middle[:], value.last[:])
    return copied


REPLACED = (
    (JSONFileLoader, "load_file", load_once),
    (Loader, "list_available_services", list_once),
    (Session, "_register_builtin_handlers", register_once),
    (ClientCreator, "_create_client_class", create_class_once),
    (ClientCreator, "_load_service_model", load_model_once),
    (_PrefixTrie, "_recursive_copy", copy_handlers),
)


def parse_now(*services: str) -> None:
    """Make what the clients of some services need, for all processes that this one forks."""
    for owner, name, replacement in REPLACED:
        setattr(owner, name, replacement)
    nobody = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1")
    for service in services:
        nobody.client(service)
