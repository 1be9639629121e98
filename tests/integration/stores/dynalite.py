"""dynalite, a DynamoDB in JavaScript: installed from npm once, and served while a test needs it."""

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
PATIENCE = 60.0


class NotThereError(Exception):
    """dynalite cannot be had here; the message says why."""


@contextmanager
def serve() -> Iterator[str]:
    """Serve an empty DynamoDB and give its URL; tables come and go at once."""
    node = shutil.which("node")
    if node is None:
        raise NotThereError("node is not installed, so dynalite cannot run")
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
            raise NotThereError("npm is not installed, so dynalite cannot be had")
        HOME.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(HOME), PACKAGE]
        try:
            got = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
        except subprocess.TimeoutExpired as slow:
            raise NotThereError(f"npm install {PACKAGE} takes too long") from slow
        if got.returncode != 0:
            raise NotThereError(f"npm cannot install {PACKAGE}: {got.stderr.strip()[-300:]}")
    return program


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await(port: int, run: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and run.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotThereError(f"{PACKAGE} does not answer (exit code {run.poll()})")
