"""The same commands for Airflow's own command line (Airflow >= 3.2): ``airflow eip``."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

from airflow_eip_provider.cli.command import wrapped
from airflow_eip_provider.cli.commands import COMMANDS, execute

if TYPE_CHECKING:
    import argparse

    from airflow_eip_provider.cli.command import Command

_HELP_COLUMN = 24  # argparse's


class _ArgumentCollector:
    """Collects the arguments that a command declares, in the form that Airflow's command line needs."""

    def __init__(self, command: Command) -> None:
        self.collected: list[Arg] = []
        command.add_arguments(self)

    def add_argument(self, *flags: str, **options: Any) -> None:
        """Collect one argument; its help is wrapped here, because Airflow does not wrap it."""
        options["help"] = wrapped(options["help"], reserved=_HELP_COLUMN)
        self.collected.append(Arg(flags, **options))  # type: ignore[no-untyped-call]


def _run(command: Command, options: argparse.Namespace) -> None:
    sys.exit(execute(command, options))


def get_eip_cli_commands() -> list[GroupCommand]:
    """Return the command group "eip"."""
    commands = [
        ActionCommand(
            name=command.name,
            help=command.help,
            description=command.wrapped_description,
            epilog=command.epilog("airflow eip"),
            func=functools.partial(_run, command),
            args=_ArgumentCollector(command).collected,
        )
        for command in COMMANDS
    ]
    return [GroupCommand(name="eip", help="Elastic IP addresses for Amazon EMR clusters", subcommands=commands)]
