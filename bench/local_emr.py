"""
Measures calls per second of the local EMR as its state grows, and of moto alone: ``python -m bench.local_emr``.

The checks use calls per second of CPU time, which does not depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import json
import logging
import multiprocessing
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from harness.console import Console, table
from harness.job_flow import one_node

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

_ROUNDS = 5
_MOST_SLOWDOWN = 2.0  # from the smallest state to the largest
_START_SECONDS = 5.0
_HEADERS = {
    "Content-Type": "application/x-amz-json-1.1",
    "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/eu-west-1/elasticmapreduce/aws4_request, Signature=0",
}


def serve(kind: str, pipe: Connection) -> None:
    """Run a server in this process until the pipe sends None; a number asks for as many events in the log."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    began = time.monotonic()
    events: Any = None
    if kind == "moto":
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415 - part of the start-up

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        port = server.get_host_and_port()[1]
    else:
        from local_emr import LocalAws, ManualClock  # noqa: PLC0415 - part of the start-up

        aws = LocalAws(clock=ManualClock())
        aws.start()
        events = aws.events
        port = int(aws.endpoint_url.rsplit(":", 1)[1])
    pipe.send((port, time.monotonic() - began))
    while (count := pipe.recv()) is not None:
        while events is not None and events.last < count:
            events.append("step", job_flow_id="j-0", step_id=f"s-{events.last}", state="RUNNING")
        pipe.send(time.process_time())
    pipe.send(None)


class Server:
    """A server in another process, and one connection to it."""

    def __init__(self, kind: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(kind, theirs), daemon=True)
        self._process.start()
        port, self.start_seconds = self._pipe.recv()
        self._http = http.client.HTTPConnection("127.0.0.1", port)
        self.first = ""

    def cpu(self, *, events: int = 0) -> float:
        """Let the server's log grow to this number of events, and return the CPU seconds that it has used so far."""
        self._pipe.send(events)
        return float(self._pipe.recv())

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call EMR without a signature, because signing takes longer than the answer."""
        self._http.request(
            "POST", "/", body=json.dumps(request), headers={**_HEADERS, "X-Amz-Target": f"ElasticMapReduce.{operation}"}
        )
        return self._read()

    def get(self, path: str) -> dict[str, Any]:
        """Call the control API."""
        self._http.request("GET", path)
        return self._read()

    def _read(self) -> dict[str, Any]:
        response = self._http.getresponse()
        body: dict[str, Any] = json.loads(response.read())
        if response.status != http.client.OK:
            raise RuntimeError(f"{response.status}: {body}")
        return body

    def grow(self, clusters: int, *, have: int) -> None:
        """Launch clusters until there are this many."""
        for _ in range(clusters - have):
            self.first = self.first or str(self.call("RunJobFlow", **one_node("daily"))["JobFlowId"])

    def stop(self) -> None:
        """Stop the server."""
        self._pipe.send(None)
        self._process.join()


def rates(server: Server, act: Callable[[], object], *, times: int) -> tuple[float, float]:
    """Return calls per second, and calls per second of the server's CPU time, as medians of some rounds."""
    walls, cpus = [], []
    for _ in range(_ROUNDS):
        began, used = time.monotonic(), server.cpu()
        for _ in range(times):
            act()
        cpus.append(server.cpu() - used)
        walls.append(time.monotonic() - began)
    return times / statistics.median(walls), times / max(statistics.median(cpus), 1e-6)


def row(name: str, measured: dict[str, tuple[float, float]]) -> tuple[str, ...]:
    """Return a row of the table."""
    cells = (measured.get(kind) for kind in ("local-emr", "moto"))
    return (name, *(text for cell in cells for text in ((f"{cell[0]:,.0f}", f"{cell[1]:,.0f}") if cell else ("", ""))))


def is_flat(rates_by_size: dict[int, float]) -> bool:
    """Whether calls at the largest size take at most twice as long as at the smallest."""
    return rates_by_size[max(rates_by_size)] * _MOST_SLOWDOWN >= rates_by_size[min(rates_by_size)]


def main(arguments: list[str] | None = None) -> int:
    """Measure both servers, print the table and the targets, and return 0 if the targets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.local_emr", description=__doc__)
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 50, 200, 1000])
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--times", type=int, default=100, help="calls a round (%(default)s)")
    options = parser.parse_args(arguments)
    console = Console()
    servers = {kind: Server(kind) for kind in ("local-emr", "moto")}
    rows = []
    per_cpu: dict[str, dict[int, float]] = {}
    beats_moto = True
    have = 0
    for clusters in sorted(options.clusters):
        for server in servers.values():
            server.grow(clusters, have=have)
        have = clusters
        calls: dict[str, dict[str, Any]] = {
            "ListClusters": {},
            "ListClusters, of one state": {"ClusterStates": ["TERMINATED"]},
            "DescribeCluster": {"ClusterId": ""},
        }
        for name, request in calls.items():
            measured = {}
            for kind, server in servers.items():
                parameters = {**request, **({"ClusterId": server.first} if "ClusterId" in request else {})}
                call = functools.partial(server.call, name.split(",", maxsplit=1)[0], **parameters)
                measured[kind] = rates(server, call, times=options.times)
            rows.append(row(f"{name}, {clusters:,} clusters", measured))
            per_cpu.setdefault(name, {})[clusters] = measured["local-emr"][1]
            beats_moto = beats_moto and measured["local-emr"][1] >= measured["moto"][1]
    local = servers["local-emr"]
    for events in sorted(options.events):
        local.cpu(events=events)
        page = functools.partial(local.get, f"/_local/events?after={events - 500}&limit=100")
        rate = rates(local, page, times=options.times)
        rows.append(row(f"a page of 100 events, {events:,} events", {"local-emr": rate}))
        per_cpu.setdefault("a page of events", {})[events] = rate[1]
    header = ("", "local-emr /s", "/CPU s", "moto /s", "/CPU s")
    console.lines(*table(rows, header=header, right=frozenset(range(1, 5))))
    console.lines("", *(f"{kind} starts in {server.start_seconds:.1f} s" for kind, server in servers.items()))
    for server in servers.values():
        server.stop()
    targets = {f"{name}: flat within {_MOST_SLOWDOWN:g} x": is_flat(by_size) for name, by_size in per_cpu.items()} | {
        "no call takes longer than moto's": beats_moto,
        f"it starts in {_START_SECONDS:g} s": local.start_seconds <= _START_SECONDS,
    }
    console.lines("")
    return 0 if console.targets(targets) else 1


if __name__ == "__main__":
    sys.exit(main())
