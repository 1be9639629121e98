"""Which addresses and which cluster a command is about."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import InvalidInputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.cli.command import Parser
    from airflow_eip_provider.hooks.aws import AwsHooks

_JOB_FLOW_ID = re.compile("j-[0-9A-Z]+")
_ENVIRONMENT = re.compile(r"[\w.@+=-]{1,64}", re.ASCII)


class OnlyOne(argparse.Action):
    """The Elastic IP of a command that is about one; argparse by itself would take the last of several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Take the value, unless there is one."""
        given = getattr(namespace, self.dest, None)
        if given not in {None, values}:
            raise argparse.ArgumentError(self, f"{given} and {values} are given, but this command is about one")
        setattr(namespace, self.dest, values)


@dataclass(frozen=True, slots=True)
class NamedAddresses:
    """
    The Elastic IPs that the arguments name.

    :param allocation_ids: those that are named by their ids.
    :param tags: those that have all of these tags besides; several values of one tag are alternatives.
    """

    allocation_ids: tuple[str, ...] = ()
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_pool(self) -> bool:
        """Whether several may be meant; then the result has the form of several, however many there are."""
        return len(self.allocation_ids) > 1 or bool(self.tags)

    def read(self, aws: AwsHooks) -> list[str]:
        """
        Return the allocation IDs, sorted; tags are looked up (ec2:DescribeAddresses).

        :raises InvalidInputError: when no address has the tags.
        """
        from airflow_eip_provider.hooks.address_pool import read_pool

        if not self.tags:
            return sorted(self.allocation_ids)
        found = read_pool({f"tag:{key}": list(values) for key, values in self.tags.items()}, aws)
        return sorted({*self.allocation_ids, *([found] if isinstance(found, str) else found)})


def add_pool_arguments(parser: Parser) -> None:
    """Declare the ways to name one Elastic IP or several; ``named_addresses`` reads them."""
    parser.add_argument(
        "--allocation-id",
        action="append",
        default=[],
        metavar="ID",
        help="the Elastic IP, eipalloc-...; may be given again, for each of several",
    )
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="or else: all Elastic IPs with this tag, such as purpose=azure-sql; may be given again, for a further "
        "tag that they have to have, or another value of the same",
    )


def add_address_arguments(parser: Parser) -> None:
    """Declare the same, and a file that names one."""
    add_pool_arguments(parser)
    parser.add_argument("--parameters", metavar="FILE", help="or else: a parametersValues.json, which names it")


def named_addresses(options: argparse.Namespace) -> NamedAddresses:
    """
    Return the Elastic IPs that are named; AWS is not asked.

    :param options: with those of ``add_pool_arguments`` or ``add_address_arguments``.
    :raises UsageError: for what is wrong in the file, what is no allocation ID or no tag, for a file and something
        else, and when none is named.
    """
    given = tuple(dict.fromkeys(options.allocation_id))
    tags = _tags(options.tag)
    for one in given:
        _check(one)
    parameters = getattr(options, "parameters", None)
    if parameters:
        return NamedAddresses((_of_file(parameters, given, tags),))
    if not (given or tags):
        ways = (
            "--allocation-id, --tag or --parameters" if hasattr(options, "parameters") else "--allocation-id or --tag"
        )
        raise UsageError("reading the arguments", problem="no Elastic IP is named", remedy=f"give {ways}")
    return NamedAddresses(given, tags)


def allocation_id_of(options: argparse.Namespace) -> str | None:
    """
    Return the Elastic IP that is named, of a command that is about one; ``None`` when none is.

    :param options: with ``allocation_id`` and ``parameters``.
    :raises UsageError: for what is wrong in the file, what is no allocation ID, and two that differ.
    """
    given: str | None = options.allocation_id
    if options.parameters:
        return _of_file(options.parameters, () if given is None else (given,), {})
    if given is not None:
        _check(given)
    return given


def _check(allocation_id: str) -> None:
    from airflow_eip_provider.aws.allocation_ids import check_allocation_id

    try:
        check_allocation_id(allocation_id)
    except InvalidInputError as error:
        raise UsageError("reading --allocation-id", problem=str(error), remedy="correct it") from error


def _of_file(parameters: str, given: Sequence[str], tags: Mapping[str, Sequence[str]]) -> str:
    from airflow_eip_provider.parameters_file import read_parameters

    named = read_parameters(parameters).allocation_id
    others = [f"--allocation-id is {one!r}" for one in given if one != named] + ["--tag is given, too"] * bool(tags)
    if others:
        problem = f"{', '.join(others)}, allocationID of --parameters {named!r}"
        raise UsageError("reading which Elastic IP is meant", problem=problem, remedy="give one")
    return named


def _tags(given: Sequence[str]) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key or not value:
            remedy = "write --tag KEY=VALUE, such as --tag purpose=azure-sql"
            raise UsageError("reading --tag", problem=f"{text!r} is no tag with a value", remedy=remedy)
        tags.setdefault(key, []).append(value)
    return tags


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
