"""
botocore's service models, listed and parsed once for a process and for what it forks.

Every hook makes a session of its own, and each would list and parse them anew: EC2's alone takes 0.3 s.
"""

from __future__ import annotations

import functools

import boto3
from botocore.loaders import JSONFileLoader, Loader

from airflow_eip_provider.triggers.connection import ServiceModels

_list = functools.cache(Loader().list_available_services)
load_lean = functools.partial(ServiceModels.load_file, ServiceModels())
load_anew = functools.partial(JSONFileLoader.load_file, JSONFileLoader())
_parse = functools.cache(load_anew)


def load_once(_: JSONFileLoader, file_path: str) -> object:
    """Stand in for ``JSONFileLoader.load_file``."""
    return _parse(file_path)


def list_once(_: Loader, type_name: str) -> object:
    """Stand in for ``Loader.list_available_services``."""
    return _list(type_name)


def parse_now(*services: str) -> None:
    """Parse the models of some services, for all processes that this one forks."""
    JSONFileLoader.load_file = load_once
    ServiceModels.load_file = load_once  # type: ignore[method-assign]
    Loader.list_available_services = list_once
    nobody = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1")
    for service in services:
        nobody.client(service)
