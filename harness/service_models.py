"""
Caches what botocore creates for each session and client, for a process and the processes that it forks.

Every hook creates a session. Each session lists and parses the service models, registers event handlers, builds the
classes of its clients and reads the rules of their endpoints, which takes most of the time of a short test. They never
change.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import boto3
from botocore import regions, useragent
from botocore.client import ClientCreator
from botocore.endpoint_provider import EndpointProvider
from botocore.hooks import _MIDDLE, EventAliaser, HierarchicalEmitter, NodeList, _PrefixTrie
from botocore.loaders import JSONFileLoader, Loader
from botocore.model import ServiceModel
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


_models: dict[int, ServiceModel] = {}


def load_model_once(creator: ClientCreator, service_name: str, api_version: str | None = None) -> ServiceModel:
    """Replace ``ClientCreator._load_service_model``: a model creates its shapes at their first use."""
    parsed = creator._loader.load_service_model(service_name, "service-2", api_version=api_version)
    if id(parsed) not in _models:  # the model refers to the parsed data, so the id is not reused
        _models[id(parsed)] = ServiceModel(parsed, service_name=service_name)
    return _models[id(parsed)]


_endpoints: dict[tuple[int, int], tuple[EndpointProvider, object]] = {}


def read_endpoint_rules_once(*, ruleset_data: Any, partition_data: Any, **options: Any) -> EndpointProvider:
    """Replace ``EndpointProvider``."""
    key = id(ruleset_data), id(partition_data)
    if key not in _endpoints:
        provider = EndpointProvider(ruleset_data=ruleset_data, partition_data=partition_data, **options)
        _endpoints[key] = provider, (ruleset_data, partition_data)  # kept, so that their ids are not reused
    return _endpoints[key][0]


def share_handlers(handlers: _PrefixTrie) -> _PrefixTrie:
    """Replace ``_PrefixTrie.__copy__``: both tries share all nodes, and copy a node before they change it."""
    shared = type(handlers)()
    shared._root = handlers._root
    return shared


def _own(node: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """Copy a node of a trie, and the nodes below it on a path."""
    children = dict(node["children"])
    if path and path[0] in children:
        children[path[0]] = _own(children[path[0]], path[1:])
    values = node["values"] and NodeList(*map(list, node["values"]))
    return {**node, "children": children, "values": values}


_append = _PrefixTrie.append_item
_remove = _PrefixTrie.remove_item


def append_to_own(handlers: _PrefixTrie, key: str, value: Any, section: int = _MIDDLE) -> None:
    """Replace ``_PrefixTrie.append_item``."""
    handlers._root = _own(handlers._root, key.split("."))
    _append(handlers, key, value, section)


def remove_from_own(handlers: _PrefixTrie, key: str, value: Any) -> None:
    """Replace ``_PrefixTrie.remove_item``."""
    handlers._root = _own(handlers._root, key.split("."))
    _remove(handlers, key, value)


_alias = EventAliaser._alias_event_name
_aliases: dict[str, str] = {}


def alias_once(emitter: EventAliaser, event_name: str) -> str:
    """Replace ``EventAliaser._alias_event_name``: every emitter has the same aliases."""
    if event_name not in _aliases:
        _aliases[event_name] = _alias(emitter, event_name)
    return _aliases[event_name]


REPLACED = (
    (JSONFileLoader, "load_file", load_once),
    (Loader, "list_available_services", list_once),
    (Session, "_register_builtin_handlers", register_once),
    (ClientCreator, "_create_client_class", create_class_once),
    (ClientCreator, "_load_service_model", load_model_once),
    (regions, "EndpointProvider", read_endpoint_rules_once),
    (_PrefixTrie, "__copy__", share_handlers),
    (_PrefixTrie, "append_item", append_to_own),
    (_PrefixTrie, "remove_item", remove_from_own),
    (EventAliaser, "_alias_event_name", alias_once),
    (
        useragent,
        "sanitize_user_agent_string_component",
        functools.cache(useragent.sanitize_user_agent_string_component),
    ),
)


def parse_now(*services: str) -> None:
    """Fill the caches for some services, for this process and all processes that it forks."""
    for owner, name, replacement in REPLACED:
        setattr(owner, name, replacement)
    session = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1")
    for service in services:
        session.client(service)
