"""The AWS CLI as a program that scripts start, quicker than the installed one: see ``tests.forked``."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.forked import forked_python

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = Path(sys.executable).with_name("aws")
# Modules are imported when a command first needs them, and botocore parses its models for each command anew.
_PREPARATION = """
import contextlib, functools, io, os
from awscli.clidriver import create_clidriver
from botocore.loaders import JSONFileLoader, Loader

parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
JSONFileLoader.load_file = lambda _, path: parse(path)
services = functools.cache(functools.partial(Loader.list_available_services, Loader()))
Loader.list_available_services = lambda _, type_name: services(type_name)
nowhere = ["--region", "eu-west-1", "--endpoint-url", "http://127.0.0.1:1"]
settings = {"AWS_ACCESS_KEY_ID": "-", "AWS_SECRET_ACCESS_KEY": "-", "AWS_MAX_ATTEMPTS": "1"}
os.environ.update(settings)
for command in (["ec2", "describe-addresses"], ["dynamodb", "list-tables"], ["emr", "list-clusters"], ["s3", "ls", "s3://b"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        create_clidriver().main([*command, *nowhere])
for name in settings:
    del os.environ[name]
"""


class QuickAwsCli(NamedTuple):
    """
    The installed AWS CLI, whose modules are imported once.

    :param program: ``aws``.
    :param python: the Python of it.
    """

    program: Path
    python: Path


@contextlib.contextmanager
def quick_aws_cli(directory: Path) -> Iterator[QuickAwsCli]:
    """Make a program ``aws`` in a directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with forked_python(_PREPARATION, env=environment | {"AWS_CONFIG_FILE": os.devnull}) as python:
        python.program(directory / "aws", INSTALLED)
        yield QuickAwsCli(directory / "aws", python.client)
