"""
A Python that imports what takes seconds once, and is forked for each command.

    with forked_python("import airflow", env={...}) as python:
        done = python.run("-m", "airflow", "eip", "reap", env={...})   # as subprocess.run does with a new Python
        python.program(directory / "aws", INSTALLED)   # a program that scripts start; see tests.aws_cli

A command is still a process of its own, with its environment, directory, streams, signals and exit status. What it
shares with those before it are modules that were imported: most of what a command of Airflow (2 s and more) or of the
AWS CLI (0.6 s) costs.

Run as a file, this is that Python: ``forked.py SOCKET PREPARATION``.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_SECONDS = 600.0
_SIZE = 4  # bytes that say how long a request is

# What a script starts in the place of the program: it asks for the same, and waits. It is paid each time, so it imports
# little.
_CLIENT = """\
#!{python} -ISs
import array, marshal, os, socket, sys
asked = marshal.dumps([{arguments!r} + sys.argv[1:], dict(os.environ), os.getcwd()])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    fds = array.array("i", [0, 1, 2])
    server.sendmsg([len(asked).to_bytes({size}, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    server.sendall(asked)
    status = int(server.recv(16) or b"255")
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""


class ForkedPython:
    """
    That Python, from a test.

    :ivar client: a program that takes the arguments of a Python: a script, or ``-m`` and a module.
    """

    def __init__(self, directory: Path) -> None:
        self._address = str(directory / "socket")
        self.client = directory / "python"
        self.program(self.client)

    def program(self, path: Path, *arguments: str | Path) -> None:
        """
        Write a program that is a command of this Python.

        :param arguments: what comes before the program's own: a script, or ``-m`` and a module.
        """
        given = [str(argument) for argument in arguments]
        text = _CLIENT.format(python=sys.executable, arguments=given, address=self._address, size=_SIZE)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(
        self, *arguments: str | Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end: a script, or ``-m`` and a module; and what that is given."""
        command = [str(self.client), *map(str, arguments)]
        return subprocess.run(
            command, env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=_SECONDS, check=False
        )


@contextlib.contextmanager
def forked_python(preparation: str, *, env: Mapping[str, str]) -> Iterator[ForkedPython]:
    """
    Start such a Python, and end it with all that still runs in it.

    :param preparation: code that it runs once: imports. A function ``begin`` of it is called in each command.
    :param env: its environment, for what is read during an import; each command has its own.
    """
    with tempfile.TemporaryDirectory(prefix="forked-") as made:
        command = [sys.executable, str(Path(__file__)), f"{made}/socket", preparation]
        process = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert process.stdout is not None
        try:
            # Airflow 3.0 logs to stdout.
            assert "ready\n" in iter(process.stdout.readline, ""), "the preparation failed; its errors are above"
            yield ForkedPython(Path(made))
        finally:
            process.communicate()  # the end of its input is the end of it


class _Request:
    """A command that a client waits for."""

    def __init__(self, client: socket.socket) -> None:
        size, self.fds, _, _ = socket.recv_fds(client, _SIZE, 3)
        rest = int.from_bytes(size, "big")
        body = b""
        while len(body) < rest:
            body += client.recv(rest - len(body))
        self.arguments, self.environment, self.directory = marshal.loads(body)


class _Server:
    """Forks for each request, and tells the client how the command has ended."""

    def __init__(self, address: str) -> None:
        self._running: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(128)
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def next_request(self) -> _Request | None:
        """Serve; return a request in the process that is to be its command, and nothing at the end."""
        while True:
            readable, _, _ = select.select([0, self._listener, self._woken, *self._running.values()], [], [])
            if 0 in readable:
                self._kill(self._running)
                return None
            if self._woken in readable:
                self._woken.recv(4096)
            self._kill(pid for pid, client in self._running.items() if client in readable)  # its client is no more
            self._report()
            if self._listener in readable and (request := self._fork()):
                return request

    @staticmethod
    def _kill(pids: Iterable[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def _report(self) -> None:
        for pid, client in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._running[pid]
                with client, contextlib.suppress(OSError):
                    client.sendall(str(os.waitstatus_to_exitcode(status)).encode())

    def _fork(self) -> _Request | None:
        client, _ = self._listener.accept()
        request = _Request(client)
        if pid := os.fork():
            self._running[pid] = client
            for fd in request.fds:
                os.close(fd)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._listener, self._woken, self._wake, client, *self._running.values()):
            each.close()
        return request


def _become(request: _Request, imported: Mapping[str, str], begin: Callable[[], None]) -> None:
    """
    Run the command as a Python that has just started does, and end as that does.

    :param imported: environment variables that imports have set.
    :param begin: what reads the environment again that imports have read.
    """
    for fd, own in zip(request.fds, (0, 1, 2), strict=True):
        os.dup2(fd, own)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request.environment | imported)
    os.chdir(request.directory)
    begin()
    first, *rest = request.arguments
    isolated = first == "-I"
    if isolated:
        first, *rest = rest
    if first == "-m":
        sys.argv = rest
        place = request.directory
    else:
        sys.argv = [first, *rest]
        place = str(Path(first).parent)
    if not isolated:
        sys.path.insert(0, place)
    if first == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file
    before = dict(os.environ)
    prepared: dict[str, Any] = {}
    exec(sys.argv[2], prepared)
    added = {name: value for name, value in os.environ.items() if before.get(name) != value}
    gc.collect()
    gc.freeze()  # what was imported stays shared
    if (asked := _Server(sys.argv[1]).next_request()) is not None:
        _become(asked, added, prepared.get("begin", lambda: None))
