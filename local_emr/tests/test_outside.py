"""Who is behind a connection: a step's process, wherever it went, or the laptop."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from local_emr.outside import LAPTOP_IP, Caller, Outside, drop_packets
from local_emr.steps.processes import DEPLOY_MODE_VARIABLE, MARK_VARIABLE, mark_of
from stage import spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psutil

    from local_emr.emr.steps import NodeWork

CONNECT = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[-1]))); s.recv(1)"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(60)
        yield made


MARK = "runner-1/s-1"


def outside(*, root: int | None = None, ip: str | None = "203.0.113.5") -> Outside:
    def locate(work: NodeWork, executor: int | None) -> Caller:
        return Caller(ip, work.id, f"cluster of {work.id}", "primary" if executor is None else f"core {executor}")

    def work_of(process: psutil.Process) -> NodeWork | None:
        return spec() if mark_of(process) == MARK or process.pid == root else None

    runner: Any = SimpleNamespace(work_of=work_of)
    return Outside(runner=lambda: runner, locate=locate)


def connect(listener: socket.socket, world: Any, command: list[str], *, marked: bool, **variables: str) -> Caller:
    """Start a command that connects, and say who the outside world takes it for."""
    port = listener.getsockname()[1]
    environment = {**os.environ, **({MARK_VARIABLE: MARK} if marked else {}), **variables}
    child = subprocess.Popen([*command, str(port)], env=environment)
    connection, peer = listener.accept()
    with connection:
        caller = world(child.pid).caller(peer[:2], local_port=port)
    child.wait(timeout=60)
    return caller


def test_a_process_that_carries_the_mark_is_its_step(listener):
    caller = connect(listener, lambda _: outside(), [sys.executable, "-c", CONNECT], marked=True)
    assert caller == Caller("203.0.113.5", "s-1", "cluster of s-1", "primary")


def test_a_process_below_a_steps_first_process_is_its_step_even_without_the_mark(listener):
    command = [sys.executable, "-c", CONNECT]
    assert connect(listener, lambda pid: outside(root=pid), command, marked=False).step_id == "s-1"


def test_an_orphan_in_a_session_of_its_own_is_still_its_step(listener):
    script = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {CONNECT!r}, sys.argv[1]], "
        "start_new_session=True)"
    )
    assert connect(listener, lambda _: outside(), [sys.executable, "-c", script], marked=True).step_id == "s-1"


def test_what_a_spark_executor_starts_is_on_the_executors_node(listener):
    """PySpark's workers are children of the executor's JVM."""
    worker = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CONNECT!r}, sys.argv[-1]])"
    executor = [sys.executable, "-c", worker, "org.apache.spark.executor.CoarseGrainedExecutorBackend"]
    caller = connect(listener, lambda _: outside(), [*executor, "--executor-id", "7"], marked=True)
    assert caller.instance_id == "core 7"


@pytest.mark.parametrize(("mode", "node"), [("client", "primary"), ("cluster", "core 0")])
def test_a_driver_is_on_the_primary_and_in_cluster_mode_on_a_core_node(listener, mode, node):
    """[docs: Spark, "Running Spark on YARN": in cluster mode the driver runs in the application master]."""
    command = [sys.executable, "-c", CONNECT]
    caller = connect(listener, lambda _: outside(), command, marked=True, **{DEPLOY_MODE_VARIABLE: mode})
    assert caller.instance_id == node


def test_packets_that_are_dropped_keep_the_client_waiting_until_it_gives_up(listener):
    client = socket.create_connection(listener.getsockname())
    connection, _ = listener.accept()
    with client, connection:
        client.settimeout(0.2)
        client.send(b"hello")
        waiting = threading.Thread(target=drop_packets, args=(connection,), daemon=True)
        waiting.start()
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert waiting.is_alive()
        client.shutdown(socket.SHUT_RDWR)
        waiting.join(60)
        assert not waiting.is_alive()


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
