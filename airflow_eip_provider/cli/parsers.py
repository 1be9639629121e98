"""The parser of ``airflow-eip``: its help, and completion in a shell."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, ClassVar

from rich_argparse import RawDescriptionRichHelpFormatter

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.command import EXIT_STATUSES, examples_text, statuses_text
from airflow_eip_provider.cli.commands import COMMANDS, GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable

_PROGRAM = "airflow-eip"
_DESCRIPTION = "Give Amazon EMR clusters a fixed public IP address, an Elastic IP."
_EXAMPLES = """\
# Check the configuration before the first cluster is launched
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0
# Show where the address is and who waits for it
airflow-eip status --allocation-id eipalloc-0123456789abcdef0
# Show the options, examples and exit statuses of a command
airflow-eip reap --help"""
_CHOSEN = "command"


class HelpFormatter(RawDescriptionRichHelpFormatter):
    """Airflow's help formatter, which also highlights the headings and comments of this package's help texts."""

    group_name_formatter: ClassVar[Callable[[str], str]] = str.capitalize
    text_markup: ClassVar[bool] = False
    help_markup: ClassVar[bool] = False
    highlights: ClassVar[list[str]] = [
        *RawDescriptionRichHelpFormatter.highlights,
        r"(?m)^(?P<groups>[A-Z][^.:\n]*:)$",
        r"(?m)^  (?P<args>[a-z]+(-[a-z]+)*|[0-9]+)  ",
        r"(?m)^ +(?P<metavar># .*)$",
    ]

    def add_argument(self, action: argparse.Action) -> None:
        """Omit the flat list of commands; the description lists them by task."""
        if action.dest != _CHOSEN:
            super().add_argument(action)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; the options that it returns have the ``Command`` as ``chosen``, and its own ``parser``."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=f"{_DESCRIPTION}\n\n{_commands_by_task()}",
        epilog=f"{examples_text(_EXAMPLES, _PROGRAM)}\n\n{statuses_text(EXIT_STATUSES)}",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest=_CHOSEN, metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.wrapped_description,
            epilog=command.epilog(_PROGRAM),
            formatter_class=HelpFormatter,
        )
        command.add_arguments(_FileCompletion(subparser) if "_ARGCOMPLETE" in os.environ else subparser)
        subparser.set_defaults(chosen=command, parser=subparser)
    return parser


def _commands_by_task() -> str:
    width = max(len(command.name) for command in COMMANDS)
    return "\n\n".join(
        "\n".join([f"{task}:", *(f"  {command.name:<{width}}  {command.help}" for command in commands)])
        for task, commands in GROUPS.items()
    )


class _FileCompletion:
    """Declares arguments so that a shell completes the names of files for the options that take one."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def add_argument(self, *flags: str, **options: Any) -> Any:
        """Declare one argument."""
        from argcomplete.completers import FilesCompleter

        action = self._parser.add_argument(*flags, **options)
        if options.get("metavar") == "FILE":
            action.completer = FilesCompleter()  # type: ignore[attr-defined]
        return action


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and exit; do nothing otherwise."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete
        from argcomplete.completers import SuppressCompleter

        argcomplete.autocomplete(parser, default_completer=SuppressCompleter())
