"""What a command of ``airflow-eip`` is, and the layout of its help."""

from __future__ import annotations

import shutil
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

# argparse itself exits with WRONG. A process that a signal ends exits with 128 + its number, as in a shell.
OK, FAILED, WRONG, FOUND, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 4, 130
UNREAD = 141  # SIGPIPE: the reader of the output has ended before the command did
# The exit statuses of all commands; a command describes in more detail those that need it.
EXIT_STATUSES = {
    OK: "success, or nothing to do",
    FAILED: "an error; see standard error",
    WRONG: "invalid arguments",
    FOUND: "the command found what it looks for, such as a problem",
    INCOMPLETE: "nothing was found, but some input could not be read",
    INTERRUPTED: "stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP, 141 by SIGPIPE)",
}
_OF_EVERY_COMMAND = (OK, FAILED, WRONG, INTERRUPTED)

_MAX_WIDTH = 100  # longer lines are hard to read


class Parser(Protocol):
    """What a command declares its arguments to: argparse's parser, or a collector for Airflow's command line."""

    def add_argument(self, *flags: str, **options: Any) -> Any:
        """Declare one argument."""


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command.

    Its module is imported by every ``airflow`` command, so it imports what is slow to import only in ``run``.

    :param help: one line. Neither this nor the help of an argument may contain brackets, which Airflow takes for
        markup.
    :param description: what it does and what it needs, in paragraphs.
    :param run: does it and returns the exit status.
    :param examples: command lines of ``airflow-eip``, each below a comment that says what it does.
    :param exit_statuses: what the exit statuses mean for this command, if that is more than ``EXIT_STATUSES`` says.
    """

    name: str
    help: str
    description: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str
    exit_statuses: Mapping[int, str] = field(default_factory=dict)

    @property
    def wrapped_description(self) -> str:
        """The description, wrapped to the width of the terminal."""
        return "\n\n".join(map(wrapped, self.description.split("\n\n")))

    @property
    def all_exit_statuses(self) -> dict[int, str]:
        """Every exit status that the command has, and its meaning."""
        common = {number: EXIT_STATUSES[number] for number in _OF_EVERY_COMMAND}
        return dict(sorted({**common, **self.exit_statuses}.items()))

    def epilog(self, program: str) -> str:
        """
        Return the end of the help: examples and exit statuses.

        :param program: "airflow-eip", or "airflow eip".
        """
        return f"{examples_text(self.examples, program)}\n\n{statuses_text(self.all_exit_statuses)}"


def wrapped(paragraph: str, *, reserved: int = 0) -> str:
    """
    Wrap a paragraph to the width of the terminal.

    :param reserved: the number of columns that are used otherwise.
    """
    width = min(shutil.get_terminal_size().columns - 2, _MAX_WIDTH) - reserved
    return textwrap.fill(paragraph, max(width, 20), break_on_hyphens=False)


def examples_text(examples: str, program: str) -> str:
    """Return the examples as a section of a help text."""
    return "Examples:\n" + textwrap.indent(examples.strip("\n").replace("airflow-eip ", f"{program} "), "  ")


def statuses_text(statuses: Mapping[int, str]) -> str:
    """Return the exit statuses as a section of a help text."""
    return "\n".join(["Exit status:", *(f"  {number:<4} {text}" for number, text in statuses.items())])
