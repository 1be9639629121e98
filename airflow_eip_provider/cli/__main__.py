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
    """Carry out one command and return its exit status."""
    parser = make_parser()
    complete(parser)
    options = parser.parse_args(arguments)
    return execute(options.chosen, options)


def script() -> None:
    """Be the console script: without what Airflow's hooks tell of every connection, unless somebody asks for that."""
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")  # read when Airflow is imported
    sys.exit(main())


if __name__ == "__main__":
    script()
