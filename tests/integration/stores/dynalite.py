"""dynalite, a DynamoDB in JavaScript: installed from npm once, and started for the tests that need it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "dynalite@4.0.0"
HOME = Path(tempfile.gettempdir()) / PACKAGE.replace("@", "-")
TIMEOUT_SECONDS = 60.0


class UnavailableError(Exception):
    """dynalite cannot be installed or started; the message has the reason."""


@contextmanager
def serve() -> Iterator[str]:
    """Start an empty DynamoDB and yield its URL; tables are created and deleted at once."""
    node = shutil.which("node")
    if node is None:
        raise UnavailableError("node is not installed, so dynalite cannot run")
    program = _install()
    port = _free_port()
    options = ["--port", str(port), "--createTableMs", "0", "--deleteTableMs", "0"]
    with subprocess.Popen([node, str(program), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            _await(port, run)
            yield f"http://127.0.0.1:{port}"
        finally:
            run.terminate()


def _install() -> Path:
    program = HOME / "node_modules" / "dynalite" / "cli.js"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise UnavailableError("npm is not installed, so dynalite cannot be installed")
        HOME.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(HOME), PACKAGE]
        try:
            got = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired as slow:
            raise UnavailableError(f"npm install {PACKAGE} takes too long") from slow
        if got.returncode != 0:
            raise UnavailableError(f"npm cannot install {PACKAGE}: {got.stderr.strip()[-300:]}")
    return program


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await(port: int, run: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end and run.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise UnavailableError(f"{PACKAGE} does not answer (exit code {run.poll()})")
