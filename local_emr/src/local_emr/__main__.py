"""The command: ``python -m local_emr``."""

from __future__ import annotations

import argparse
import logging
import math
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.session

from local_emr.complete import complete_aws
from local_emr.saved import BrokenSavedStateError, SavedState

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAVE_SECONDS = 30.0
_PORTS = range(65536)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, _port(port)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) not in _PORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _is_region(name: str) -> bool:
    session = botocore.session.get_session()
    return any(name in session.get_available_regions("emr", each) for each in session.get_available_partitions())


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return number


def _check_free(host: str, port: int) -> None:
    """Check that a port is free, to give a one-line error instead of the server's traceback.

    :raises OSError: When it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; name another port or host", f"{host}:{port}") from error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local_emr",
        description="AWS, EMR and Azure SQL on one laptop. Point AWS_ENDPOINT_URL at it.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=5055, help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--region", default="eu-west-1", help="AWS region of EMR (default: %(default)s)")
    parser.add_argument(
        "--time-scale", type=_positive, default=60.0, help="simulated seconds per real second (default: %(default)s)"
    )
    parser.add_argument(
        "--state",
        type=Path,
        help="directory of steps, databases and events.jsonl, and of what is kept for the next start: S3, DynamoDB, "
        "Secrets Manager, Elastic IPs and firewall rules; saved at exit, and periodically while no cluster runs "
        "(default: a temporary directory)",
    )
    parser.add_argument("--azure-sql-port", type=_port, default=0, help="default: any free one")
    parser.add_argument(
        "--azure-sql-upstream", type=_host_and_port, metavar="HOST:PORT", help="a real SQL Server behind the firewall"
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, *, state: Path) -> None:
    """Serve until SIGTERM or SIGINT, and leave no process behind."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    databases = state / "databases"
    databases.mkdir(parents=True, exist_ok=True)
    aws = complete_aws(
        state,
        host=options.host,
        port=options.port,
        region=options.region,
        time_scale=options.time_scale,
        saved=SavedState(state / "saved.zip"),
        azure_sql_port=options.azure_sql_port,
        azure_sql_directory=databases,
        azure_sql_upstream=options.azure_sql_upstream,
    )
    with aws:
        sql = aws.azure_sql
        print(  # noqa: T201 - what a person who starts it needs to know
            f"AWS: {aws.endpoint_url}  events: {aws.endpoint_url}/_local/events  "
            f"my IP: {aws.endpoint_url}/my-ip  Azure SQL: {sql.host if sql else ''}:{sql.port if sql else ''}",
            flush=True,
        )
        while not ended.wait(_SAVE_SECONDS):
            aws.save_when_idle()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    options = parse(arguments)
    if not _is_region(options.region):
        sys.exit(f"local EMR: {options.region!r} is no AWS region such as eu-west-1")
    try:
        for port in (options.port, options.azure_sql_port):
            _check_free(options.host, port)
        if options.state is not None:
            run(options, state=options.state)
            return
        with tempfile.TemporaryDirectory(prefix="local-aws-") as state:
            run(options, state=Path(state))
    except (OSError, BrokenSavedStateError) as error:
        sys.exit(f"local EMR: {error}")


if __name__ == "__main__":
    main()
