"""Who is behind a connection: a step's process, wherever it went, or the laptop."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.local_aws.outside import LAPTOP_IP, Caller, Outside
from airflow_eip_provider.local_aws.steps.processes import STEP_ID_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONNECT = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.recv(1)"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(60)
        yield made


def outside(roots: dict[int, Any] | None = None, *, ip: str | None = "203.0.113.5") -> Outside:
    return Outside(
        roots=lambda: roots or {},
        public_ip_of_step=lambda _: ip,
        job_flow_of_step=lambda step_id: f"cluster of {step_id}",
    )


def connect(listener: socket.socket, world: Any, command: list[str], *, marked: bool) -> Caller:
    """Start a command that connects, and say who the outside world takes it for."""
    port = listener.getsockname()[1]
    environment = {**os.environ, **({STEP_ID_VARIABLE: "s-1"} if marked else {})}
    child = subprocess.Popen([*command, str(port)], env=environment)
    connection, peer = listener.accept()
    with connection:
        caller = world(child.pid).caller(peer[:2], local_port=port)
    child.wait(timeout=60)
    return caller


def test_a_process_that_carries_the_mark_is_its_step(listener):
    caller = connect(listener, lambda _: outside(), [sys.executable, "-c", CONNECT], marked=True)
    assert caller == Caller("203.0.113.5", "s-1", "cluster of s-1")


def test_a_process_below_a_steps_first_process_is_its_step_even_without_the_mark(listener):
    def world(pid: int) -> Outside:
        return outside({pid: SimpleNamespace(step_id="s-2")})

    assert connect(listener, world, [sys.executable, "-c", CONNECT], marked=False).step_id == "s-2"


def test_an_orphan_in_a_session_of_its_own_is_still_its_step(listener):
    script = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {CONNECT!r}, sys.argv[1]], "
        "start_new_session=True)"
    )
    assert connect(listener, lambda _: outside(), [sys.executable, "-c", script], marked=True).step_id == "s-1"


def test_anything_else_is_the_laptop(listener):
    caller = connect(listener, lambda _: outside(), [sys.executable, "-c", CONNECT], marked=False)
    assert caller == Caller(LAPTOP_IP)


def test_a_node_without_a_public_address_has_none(listener):
    caller = connect(listener, lambda _: outside(ip=None), [sys.executable, "-c", CONNECT], marked=True)
    assert caller.ip is None


@pytest.mark.spark
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no java on this machine")
def test_a_java_program_is_found_behind_its_ipv6_socket(listener, tmp_path: Path):
    source = tmp_path / "Connect.java"
    source.write_text(
        "class Connect { public static void main(String[] a) throws Exception {"
        ' new java.net.Socket("127.0.0.1", Integer.parseInt(a[0])).getInputStream().read(); } }'
    )
    assert connect(listener, lambda _: outside(), ["java", str(source)], marked=True).step_id == "s-1"
