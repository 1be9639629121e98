"""What a command is: a file of its own that makes one of these, named in ``commands``."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# argparse itself ends with WRONG; a process that a signal stops, with 128 and its number, as shells count.
OK, FAILED, WRONG, FOUND, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 4, 130
# The exit statuses of all commands. A command says more exactly what those mean that it has besides.
EXIT_STATUSES = {
    OK: "done, or nothing to do",
    FAILED: "an error, which standard error names",
    WRONG: "wrong arguments",
    FOUND: "what the command looks for is there",
    INCOMPLETE: "nothing was found in what could be read, but not everything could be",
    INTERRUPTED: "stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP)",
}
_OF_ALL = (OK, FAILED, WRONG, INTERRUPTED)

_WIDEST = 100  # a longer line is hard to read
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
    :param description: what it does and what it needs, in paragraphs.
    :param run: does it and returns the exit status; what it needs beyond the standard library, it imports itself:
        every ``airflow`` command reads this package.
    :param examples: command lines of ``airflow-eip``, each below a comment that says what it does.
    :param exit_statuses: what they mean for this command, where that says more than ``EXIT_STATUSES``.
    """

    name: str
    help: str
    description: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str = ""
    exit_statuses: Mapping[int, str] = field(default_factory=dict)

    @property
    def wrapped_description(self) -> str:
        """The description for the width of this terminal."""
        return "\n\n".join(map(wrapped, self.description.split("\n\n")))

    @property
    def all_exit_statuses(self) -> dict[int, str]:
        """Every exit status that the command has, and its meaning."""
        known = {number: EXIT_STATUSES[number] for number in _OF_ALL}
        return dict(sorted({**known, **self.exit_statuses}.items()))

    def epilog(self, program: str) -> str:
        """
        Return what its help ends with: examples and exit statuses.

        :param program: "airflow-eip", or "airflow eip".
        """
        shown = [examples_text(self.examples.replace("airflow-eip ", f"{program} "))] if self.examples else []
        return "\n\n".join([*shown, statuses_text(self.all_exit_statuses)])


def wrapped(paragraph: str, *, beside: int = 0) -> str:
    """
    Break a paragraph for the width of this terminal.

    :param beside: the columns that something else needs.
    """
    width = min(shutil.get_terminal_size().columns - 2, _WIDEST) - beside
    return textwrap.fill(paragraph, max(width, 20), break_on_hyphens=False)


def examples_text(examples: str) -> str:
    """Lay examples out for a help text."""
    return "Examples:\n" + textwrap.indent(examples.strip("\n"), "  ")


def statuses_text(statuses: Mapping[int, str]) -> str:
    """Lay exit statuses out for a help text."""
    return "\n".join(["Exit status:", *(f"  {number:<4} {text}" for number, text in statuses.items())])


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
    add_json_argument(parser)


def add_json_argument(parser: Parser) -> None:
    """Declare the result's form for programs; every command has it."""
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
