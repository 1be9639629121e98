"""
Caches what botocore makes for each session: once for a process and the processes that it forks.

Every hook makes its own session. Each session lists and parses the service models, registers its event handlers and
builds the classes of its clients; that is most of the time of a short test.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import boto3
from botocore.client import ClientCreator
from botocore.hooks import EventAliaser, HierarchicalEmitter
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

_list = functools.cache(Loader().list_available_services)
_parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))


def load_once(_: JSONFileLoader, file_path: str) -> object:
    """Replace ``JSONFileLoader.load_file``."""
    return _parse(file_path)


def list_once(_: Loader, type_name: str) -> object:
    """Replace ``Loader.list_available_services``."""
    return _list(type_name)


_register = Session._register_builtin_handlers
_create_class = ClientCreator._create_client_class


_handlers: dict[type, HierarchicalEmitter] = {}


def register_once(session: Session, events: EventAliaser) -> None:
    """Replace ``Session._register_builtin_handlers``: copying an emitter takes a tenth of the time of registering."""
    kind = type(session)  # aiobotocore's sessions have another kind of emitter
    if kind not in _handlers:
        _register(session, events)
        _handlers[kind] = copy.copy(session._original_handler)
        return
    session._original_handler = copy.copy(_handlers[kind])
    session._events = EventAliaser(session._original_handler)


_classes: dict[str, Any] = {}


def create_class_once(creator: ClientCreator, service_name: str, service_model: Any) -> Any:
    """Replace ``ClientCreator._create_client_class``."""
    if service_name not in _classes:
        _classes[service_name] = _create_class(creator, service_name, service_model)
    return _classes[service_name]


REPLACED = (
    (JSONFileLoader, "load_file", load_once),
    (Loader, "list_available_services", list_once),
    (Session, "_register_builtin_handlers", register_once),
    (ClientCreator, "_create_client_class", create_class_once),
)


def parse_now(*services: str) -> None:
    """Fill the caches for some services, for this process and all that it forks."""
    for owner, name, replacement in REPLACED:
        setattr(owner, name, replacement)
    session = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1")
    for service in services:
        session.client(service)
