"""
Seeds the local EMR of docker-compose.yaml, as its init service: ``python -m demo.compose``.

It creates in the local EMR what an administrator would create. It writes Airflow's connection and Variable as files
for ``airflow connections import`` and ``airflow variables import``. A second run changes nothing, except that the Azure
SQL stand-in serves the database again; ``demo.mssql`` then replaces it by a real SQL Server.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from demo.aws import AwsClient, AzureSql
from demo.seed import seed

_AZURE_SQL_PORT = 1433
_REQUEST_SECONDS = 120.0  # everything starts at once, on any laptop


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.compose", description=__doc__)
    parser.add_argument("--aws", required=True, metavar="URL", help="the local EMR")
    parser.add_argument("--jobs", required=True, type=Path, help="the folder of the Spark jobs")
    parser.add_argument("--output", required=True, type=Path, help="the folder for the two files")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Seed, and write connections.json and variables.json."""
    options = parse(arguments)
    aws = AwsClient(options.aws, timeout_seconds=_REQUEST_SECONDS)
    # Other containers reach the local EMR by its name, not by the address that it binds to.
    server = AzureSql(host=str(urlsplit(options.aws).hostname), port=_AZURE_SQL_PORT)
    aws.pass_database_on(None)
    seeded = seed(aws, jobs=options.jobs, server=server)
    files = {"connections": {"aws_default": aws.connection}, "variables": {"azure_sql": seeded.variable}}
    for name, content in files.items():
        (options.output / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    sys.stdout.write(f"Elastic IP {seeded.public_ip} ({seeded.allocation_id}) is registered with the firewall.\n")


if __name__ == "__main__":
    main()
