"""What a command is: a file of its own that makes one of these, named in ``commands``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# Exit statuses; argparse itself ends with WRONG.
OK, FAILED, WRONG, FOUND = 0, 1, 2, 3
# Nothing was found, in what could be read.
INCOMPLETE = 4
# Stopped by Ctrl-C, as shells count signals.
INTERRUPTED = 130

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Parser(Protocol):
    """What a command declares its arguments to: argparse's parser, or what collects them for Airflow's."""

    def add_argument(self, *flags: str, **options: Any) -> Any:
        """Declare one argument."""


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command.

    :param help: one line; neither here nor in an argument's help anything in brackets, which Airflow takes for markup.
    :param description: what it does, what it needs, and its exit statuses.
    :param run: does it and returns the exit status; what it needs beyond the standard library, it imports itself:
        every ``airflow`` command reads this package.
    """

    name: str
    help: str
    description: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]


def add_aws_arguments(parser: Parser) -> None:
    """Declare which account and region a command works in."""
    parser.add_argument(
        "--aws-conn-id", metavar="ID", help="the Airflow connection (default: boto3's own chain of credentials)"
    )
    parser.add_argument("--region", metavar="REGION", help="the AWS region (default: the connection's, or boto3's own)")


def add_lock_store_argument(parser: Parser) -> None:
    """Declare which lock store a command uses; ``session.lock_store_of`` resolves it."""
    parser.add_argument(
        "--lock-store",
        metavar="URI",
        help="the lock store, or none (default: the option lock_store of section eip of airflow.cfg)",
    )


def add_common_arguments(parser: Parser) -> None:
    """Declare what every command takes that looks at addresses: lock store, account, region and the result's form."""
    add_lock_store_argument(parser)
    add_aws_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def span(text: str) -> timedelta:
    """
    Read a time span: 90, 90s, 45m, 2h or 1d.

    :raises argparse.ArgumentTypeError: for anything else.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no time span such as 90m, 2h or 1d")
    return timedelta(seconds=int(number) * _UNITS[unit])
