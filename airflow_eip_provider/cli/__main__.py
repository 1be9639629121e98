"""The console script: ``airflow-eip``, or ``python -m airflow_eip_provider.cli``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from airflow_eip_provider import __version__
from airflow_eip_provider.cli.commands import COMMANDS, execute

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; the documentation's reference is made of it, too."""
    parser = argparse.ArgumentParser(prog="airflow-eip", description="Elastic IP addresses for Amazon EMR clusters.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(chosen=command)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit status."""
    options = make_parser().parse_args(arguments)
    return execute(options.chosen, options)


def script() -> None:
    """Be the console script: without what Airflow's hooks tell of every connection, unless somebody asks for that."""
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")  # read when Airflow is imported
    sys.exit(main())


if __name__ == "__main__":
    script()
