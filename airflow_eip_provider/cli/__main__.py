# PYTHON_ARGCOMPLETE_OK
"""The console script: ``airflow-eip``, or ``python -m airflow_eip_provider.cli``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.commands import execute
from airflow_eip_provider.cli.parsers import complete, make_parser

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = make_parser()
    complete(parser)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return execute(options.chosen, options)


def script() -> None:
    """Run the console script; Airflow's hooks log every connection that they read unless the log level is set."""
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")  # Airflow reads it when it is imported
    sys.exit(main())


if __name__ == "__main__":
    script()
