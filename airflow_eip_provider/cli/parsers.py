"""The parser of ``airflow-eip``: its help by task, and completion in a shell."""

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
_DESCRIPTION = "A fixed public IP address (an Elastic IP) for Amazon EMR clusters."
_EXAMPLES = """\
# what a cluster needs, before it is launched
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0
# where the address is, and who waits for it
airflow-eip status --allocation-id eipalloc-0123456789abcdef0
# options, examples and exit statuses of a command
airflow-eip reap --help"""
_CHOSEN = "command"


class HelpFormatter(RawDescriptionRichHelpFormatter):
    """Airflow's help formatter, with headings and comments marked; colours are for terminals only, and not for all."""

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
        """Leave out the flat list of commands, which the description has by task."""
        if action.dest != _CHOSEN:
            super().add_argument(action)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; what it parses has the ``Command`` as ``chosen``."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description=f"{_DESCRIPTION}\n\n{_by_task()}",
        epilog=f"{examples_text(_EXAMPLES)}\n\n{statuses_text(EXIT_STATUSES)}",
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
        command.add_arguments(_Completed(subparser) if "_ARGCOMPLETE" in os.environ else subparser)
        subparser.set_defaults(chosen=command)
    return parser


def _by_task() -> str:
    helps = {command.name: command.help for command in COMMANDS}
    width = max(map(len, helps))
    parts = [
        "\n".join([f"{task}:", *(f"  {name:<{width}}  {helps[name]}" for name in names if name in helps)])
        for task, names in GROUPS.items()
    ]
    return "\n\n".join(parts)


class _Completed:
    """Declares arguments and how a shell completes them: files where a file is meant, else what the parser knows."""

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
    """Answer a shell that asks how a command line may go on, and end; else do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete
        from argcomplete.completers import SuppressCompleter

        argcomplete.autocomplete(parser, default_completer=SuppressCompleter())
