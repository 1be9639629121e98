"""Which address and which cluster a command is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError, UsageError

if TYPE_CHECKING:
    import argparse

    from airflow_eip_provider.cli.command import Parser

_JOB_FLOW_ID = re.compile("j-[0-9A-Z]+")
_ENVIRONMENT = re.compile(r"[\w.@+=-]{1,64}", re.ASCII)


def add_address_arguments(parser: Parser) -> None:
    """Declare the two ways to name an Elastic IP."""
    parser.add_argument("--allocation-id", metavar="ID", help="the Elastic IP, eipalloc-...; or else")
    parser.add_argument("--parameters", metavar="FILE", help="a parametersValues.json, which names it")


def allocation_id_of(options: argparse.Namespace) -> str | None:
    """
    Return the Elastic IP that is named; ``None`` when none is.

    :param options: with those of ``add_address_arguments``.
    :raises UsageError: for what is wrong in the file, what is no allocation ID, and two that differ.
    """
    from airflow_eip_provider.operators.preflight import check_allocation_id
    from airflow_eip_provider.parameters_file import read_parameters

    given: str | None = options.allocation_id
    if options.parameters:
        named = read_parameters(options.parameters).allocation_id
        if given not in {None, named}:
            problem = f"--allocation-id is {given!r}, allocationID of --parameters {named!r}"
            raise UsageError("reading which Elastic IP is meant", problem=problem, remedy="give one")
        return named
    if given is not None:
        try:
            check_allocation_id(given)
        except InvalidInputError as error:
            raise UsageError("reading --allocation-id", problem=str(error), remedy="correct it") from error
    return given


def required_allocation_id(options: argparse.Namespace) -> str:
    """
    Return the Elastic IP that is named.

    :raises UsageError: as :func:`allocation_id_of`, and when none is.
    """
    if (named := allocation_id_of(options)) is None:
        problem = "no Elastic IP is named"
        raise UsageError("reading the arguments", problem=problem, remedy="give --allocation-id or --parameters")
    return named


def checked_environment(given: str | None) -> str | None:
    """
    Return the environment that is named, if one is.

    :raises UsageError: when it cannot be part of an owner's name.
    """
    if given is not None and not _ENVIRONMENT.fullmatch(given):
        problem = f"{given!r} is no plain name of 1 to 64 characters"
        raise UsageError("reading --environment", problem=problem, remedy="use letters, digits and . _ - @ + =")
    return given


def checked_job_flow_id(given: str | None) -> str | None:
    """
    Return the cluster that is named, if one is.

    :raises UsageError: when it cannot be one.
    """
    if given is not None and not _JOB_FLOW_ID.fullmatch(given):
        raise UsageError("reading --job-flow-id", problem=f"{given!r} is no cluster", remedy="give its id, j-...")
    return given
