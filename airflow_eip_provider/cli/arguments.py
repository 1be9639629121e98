"""Arguments that several commands have: how they are declared, and how they are read."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_eip_provider.exceptions import InvalidInputError, UsageError
from airflow_eip_provider.ids import JOB_FLOW_ID
from airflow_eip_provider.literals import is_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.cli.command import Parser
    from airflow_eip_provider.hooks.aws import AwsHooks

T = TypeVar("T")

_ENVIRONMENT = re.compile(r"[\w.@+=-]{1,64}", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_list(parser: Parser, flag: str, metavar: str, text: str, *, alias: str = "", **options: Any) -> None:
    """
    Declare an option that can be repeated.

    :param alias: another name for it, that of another command.
    """
    flags = [flag, alias] if alias else [flag]
    parser.add_argument(
        *flags, action="append", default=[], metavar=metavar, help=f"{text}; can be repeated", **options
    )


def add_duration(parser: Parser, flag: str, text: str, *, default: str) -> None:
    """Declare an option that takes a duration."""
    help_text = f"{text} (default: {default})"
    parser.add_argument(flag, type=duration, default=default, metavar="DURATION", help=help_text)


def add_aws_arguments(parser: Parser) -> None:
    """Declare the account and region; ``session.open_session`` reads them."""
    parser.add_argument(
        "--aws-conn-id",
        metavar="ID",
        help="the Airflow connection to use (default: the default credentials of boto3)",
    )
    parser.add_argument("--region", metavar="REGION", help="the AWS region (default: that of the connection or boto3)")


def add_lock_store_argument(parser: Parser) -> None:
    """Declare the lock store; ``session.lock_store_of`` reads it."""
    parser.add_argument(
        "--lock-store",
        metavar="URI",
        help="the lock store, or 'none' (default: the option lock_store in section eip of airflow.cfg)",
    )


def add_json_argument(parser: Parser) -> None:
    """Declare ``--json``, which every command has."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def add_common_arguments(parser: Parser) -> None:
    """Declare lock store, account, region and ``--json``."""
    add_lock_store_argument(parser)
    add_aws_arguments(parser)
    add_json_argument(parser)


def add_pool_arguments(parser: Parser) -> None:
    """Declare the ways to name one or several Elastic IPs; ``named_addresses`` reads them."""
    add_list(parser, "--allocation-id", "ID", "the allocation ID of the Elastic IP (eipalloc-...)")
    add_list(
        parser,
        "--tag",
        "KEY=VALUE",
        "all Elastic IPs with this tag, such as purpose=azure-sql; an address must match every key that is given, and "
        "one of the values of each key",
    )


def add_address_arguments(parser: Parser) -> None:
    """Declare the arguments of ``add_pool_arguments``, and a file that names one Elastic IP."""
    add_pool_arguments(parser)
    parser.add_argument(
        "--parameters", metavar="FILE", help="a parametersValues.json, whose allocationID is the Elastic IP"
    )


class StoreOnce(argparse.Action):
    """An option that takes one value; argparse would silently use the last of several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store the value, unless another one is stored."""
        stored = getattr(namespace, self.dest, None)
        if stored not in {None, values}:
            raise argparse.ArgumentError(self, f"this command takes only one, but {stored} and {values} are given")
        setattr(namespace, self.dest, values)


def duration(text: str) -> timedelta:
    """
    Parse a duration: 90, 90s, 45m, 2h or 1d.

    :raises argparse.ArgumentTypeError: for anything else.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90m, 2h or 1d")
    return timedelta(seconds=int(number) * _UNITS[unit])


@dataclass(frozen=True, slots=True)
class NamedAddresses:
    """
    The Elastic IPs that the arguments name.

    :param allocation_ids: those named by ID.
    :param tags: also all Elastic IPs with all of these tags; the values of one tag are alternatives.
    """

    allocation_ids: tuple[str, ...] = ()
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_pool(self) -> bool:
        """Whether several can be meant. Then the result is a list, even if it has one element."""
        return len(self.allocation_ids) > 1 or bool(self.tags)

    def resolve(self, aws: AwsHooks) -> list[str]:
        """
        Return the allocation IDs, sorted; tags are looked up (ec2:DescribeAddresses).

        :raises InvalidInputError: when no address has the tags.
        """
        from airflow_eip_provider.hooks.address_pool import read_pool

        if not self.tags:
            return sorted(self.allocation_ids)
        tagged = read_pool({f"tag:{key}": list(values) for key, values in self.tags.items()}, aws)
        return sorted({*self.allocation_ids, *([tagged] if isinstance(tagged, str) else tagged)})


def named_addresses(options: argparse.Namespace) -> NamedAddresses:
    """
    Return the Elastic IPs that the options of ``add_pool_arguments`` or ``add_address_arguments`` name.

    AWS is not called.

    :raises UsageError: for an invalid file, allocation ID or tag, for a file together with another address, and
        when nothing is named.
    """
    allocation_ids = tuple(dict.fromkeys(options.allocation_id))
    tags = _parse_tags(options.tag)
    for allocation_id in allocation_ids:
        _check_allocation_id(allocation_id)
    if getattr(options, "parameters", None):
        return NamedAddresses((_read_parameters_file(options.parameters, allocation_ids, tags),))
    if not (allocation_ids or tags):
        flags = "--allocation-id, --tag or --parameters" if "parameters" in options else "--allocation-id or --tag"
        raise UsageError("", problem="no Elastic IP is named", remedy=f"give {flags}")
    return NamedAddresses(allocation_ids, tags)


def allocation_id_of(options: argparse.Namespace) -> str | None:
    """
    Return the Elastic IP of a command that takes one, by ``--allocation-id`` or ``--parameters``; ``None`` for none.

    :raises UsageError: for an invalid file or allocation ID, and when the two differ.
    """
    allocation_id: str | None = options.allocation_id
    if options.parameters:
        return _read_parameters_file(options.parameters, [allocation_id] if allocation_id else [], {})
    if allocation_id is not None:
        _check_allocation_id(allocation_id)
    return allocation_id


def _check_allocation_id(allocation_id: str) -> None:
    from airflow_eip_provider.aws.resource_ids import check_allocation_id

    with reading_arguments():
        check_allocation_id(allocation_id)


def _read_parameters_file(path: str, allocation_ids: Sequence[str], tags: Mapping[str, Sequence[str]]) -> str:
    """Return the allocation ID of the file; raise an error if other options name another address."""
    from airflow_eip_provider.parameters_file import read_parameters

    in_file = read_parameters(path).allocation_id
    others = [f"--allocation-id is {other!r}" for other in allocation_ids if other != in_file]
    if tags:
        others.append("--tag is given")
    if others:
        problem = f"{', '.join(others)}, and allocationID in --parameters is {in_file!r}"
        raise UsageError("reading the Elastic IP", problem=problem, remedy="give one")
    return in_file


def _parse_tags(texts: Sequence[str]) -> dict[str, list[str]]:
    tags: dict[str, list[str]] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key or not value:
            remedy = "write --tag KEY=VALUE, such as --tag purpose=azure-sql"
            raise UsageError("reading --tag", problem=f"{text!r} is not a tag with a value", remedy=remedy)
        tags.setdefault(key, []).append(value)
    return tags


def checked_environment(name: str | None) -> str | None:
    """
    Return the name of an environment, if one is given.

    :raises UsageError: when it cannot be part of an owner's name.
    """
    if name is not None and not _ENVIRONMENT.fullmatch(name):
        problem = f"{name!r} is not a name of 1 to 64 letters, digits and . _ - @ + ="
        raise UsageError("reading --environment", problem=problem, remedy="give such a name")
    return name


def checked_job_flow_id(job_flow_id: str | None) -> str | None:
    """
    Return the ID of a cluster, if one is given.

    :raises UsageError: when it is not the ID of a cluster.
    """
    if job_flow_id is not None and not JOB_FLOW_ID.fullmatch(job_flow_id):
        problem = f"{job_flow_id!r} is not a cluster ID"
        raise UsageError("reading --job-flow-id", problem=problem, remedy="give the ID that EMR shows, j-...")
    return job_flow_id


@contextlib.contextmanager
def reading_arguments(option: str = "") -> Iterator[None]:
    """
    Turn errors about input into errors about the arguments, which end the command with status 2.

    :param option: the option that is read, if the error does not name it.
    :raises UsageError: in place of any other ``InvalidInputError``.
    """
    try:
        yield
    except UsageError:
        raise
    except InvalidInputError as error:
        problem = error.problem if option else str(error).removesuffix(f"; {error.remedy}")
        raise UsageError(f"reading {option}" if option else "", problem=problem, remedy=error.remedy) from error


def check_report(path: str | None) -> None:
    """
    Check, before anything is launched or stopped, that ``--report`` can be written.

    :raises UsageError: when its folder does not exist.
    """
    if path and (not Path(path).absolute().parent.is_dir() or Path(path).is_dir()):
        doing, problem = f"reading --report '{path}'", "its folder does not exist, or it is a folder"
        raise UsageError(doing, problem=problem, remedy="name a file in a folder that exists")


def read_job_flow_overrides(options: argparse.Namespace) -> dict[str, Any] | None:
    """
    Return the content of the file of ``--job-flow-overrides``; ``None`` when none is given.

    :raises UsageError: when the file cannot be read, or is not a JSON object.
    """
    if options.job_flow_overrides is None:
        return None
    return _read_json_file("--job-flow-overrides", options.job_flow_overrides, dict, wanted="RunJobFlow's parameters")


def read_fallbacks(options: argparse.Namespace) -> list[Any]:
    """
    Return the content of the file of ``--fallbacks``; an empty list when none is given.

    :raises UsageError: when the file cannot be read, or is not a JSON list, or there is no ``--job-flow-overrides``.
    """
    if options.fallbacks is None:
        return []
    if options.job_flow_overrides is None:
        problem = "they change the cluster of --job-flow-overrides, which is missing"
        doing = f"reading --fallbacks '{options.fallbacks}'"
        raise UsageError(doing, problem=problem, remedy="give --job-flow-overrides, too")
    wanted = 'a list of what each fallback changes: [{"Instances": {"Ec2SubnetId": "subnet-…"}}]'
    return _read_json_file("--fallbacks", options.fallbacks, list, wanted=wanted)


def _read_json_file(option: str, path: str, kind: type[T], *, wanted: str) -> T:
    doing = f"reading {option} '{path}'"
    text = ""
    try:
        text = Path(path).read_text("utf-8-sig")
        content: object = json.loads(text)
    except OSError as error:
        raise UsageError(doing, problem=str(error.strerror), remedy="name a JSON file") from error
    except (ValueError, RecursionError) as error:
        remedy = "correct the file"
        if is_template(text):
            remedy = "it contains templates: put each into a string, or render the file first"
        raise UsageError(doing, problem=f"it is not JSON: {error}", remedy=remedy) from error
    if not isinstance(content, kind):
        problem = f"it is not a JSON {'object' if kind is dict else 'list'}"
        raise UsageError(doing, problem=problem, remedy=f"give {wanted}")
    return content
