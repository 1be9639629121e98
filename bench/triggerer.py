"""
Measures memory, CPU time and AWS calls of deferred waits in one triggerer: ``python -m bench.triggerer``.

The local EMR runs in this process. The triggerer is another process, which imports the triggers before the measurement.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
from moto.ec2 import utils as ec2_utils
from moto.ec2.models.core import TaggedEC2Resource

from airflow_eip_provider.lease.record import Attempt, Entry, Lease, Phase, Record
from airflow_eip_provider.stores.uri import open_store
from bench.environment import Address, environment
from harness.console import Console, table
from local_emr import LocalAws, ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WAITS = (10, 100, 500)
QUEUE_WAITS, QUEUE_ADDRESSES = 200, 50
POLLS = 4
DELAY_SECONDS = 1.0
STORE = "dynamodb://leases"
_HOUR = 3600
_ADDRESSES = 100  # the local EMR has only about 200
_TABLES = {
    "ended": "waits for the end of clusters",
    "primary": "waits for primary instances and for their addresses",
    "queue": "waits in queues",
}
HEADER = ("Waits", "", "AWS calls a tick", "Memory", "Clients", "All have polled", "CPU until then", "Longest block")
NOTES = (
    f"Each wait polls at least {POLLS} times, every {DELAY_SECONDS:g} s, first after that time. A tick: all poll once.",
    "Memory is that of the waits, without the process itself. CPU is that of the triggerer only.",
)
_MOST_MB, _MOST_QUEUE_MB, _MOST_CLIENTS, _MOST_SECONDS, _MOST_CPU, _LONGEST_BLOCK = 40, 60, 4, 6, 2, 0.1
_PAGE_SIZE = 50  # of ListClusters


@dataclass(frozen=True, slots=True)
class Cost:
    """
    The cost of a number of waits.

    :param memory_mb: beyond that of the process before the first wait.
    :param polled_after: seconds until each wait had polled once; ``cpu_seconds`` until then.
    :param longest_block: of the event loop, in seconds.
    :param calls: AWS calls of a tick, by operation.
    """

    kind: str
    waits: int
    memory_mb: float
    clients: int
    polled_after: float
    cpu_seconds: float
    longest_block: float
    calls: dict[str, float]

    def row(self) -> tuple[str, ...]:
        """Return a row under ``HEADER``."""
        by_name = ", ".join(f"{count:g} {name}" for name, count in sorted(self.calls.items()))
        return (
            str(self.waits),
            _TABLES[self.kind],
            f"{sum(self.calls.values()):g} ({by_name})",
            f"{self.memory_mb:.0f} MB",
            str(self.clients),
            f"{self.polled_after:.1f} s",
            f"{self.cpu_seconds:.1f} s",
            f"{self.longest_block:.2f} s",
        )


def measure(kinds: Iterable[str] = tuple(_TABLES)) -> Iterator[Cost]:
    """Measure each kind of wait in each number."""
    for kind in kinds:
        for waits in (QUEUE_WAITS,) if kind == "queue" else WAITS:
            yield _measure(kind, waits)


@contextmanager
def _fast_ec2() -> Iterator[None]:
    """
    Make the local EC2 about as fast as EC2.

    For each instance and each filter, moto compiles all values and reads all tags of the account. A DescribeInstances
    for 200 of 500 clusters took 4 seconds, and the triggerer spent most of the time waiting for it.
    """

    def get_tags(self: Any) -> list[dict[str, str]]:
        tags = self.ec2_backend.tags.get(self.id, {})
        return [{"resource_id": self.id, "key": key, "value": value} for key, value in tags.items()]

    translate = functools.cache(ec2_utils.simple_aws_filter_to_re)
    with (
        patch.object(TaggedEC2Resource, "get_tags", get_tags),
        patch.object(ec2_utils, "simple_aws_filter_to_re", translate),
    ):
        yield


def _measure(kind: str, waits: int) -> Cost:
    with _fast_ec2(), LocalAws(clock=ManualClock()) as aws, environment(aws):
        parameters = {"queue": _queues, "ended": _clusters, "primary": _primaries}[kind](aws, waits)
        aws.events.clear()
        process = subprocess.run(
            [sys.executable, "-m", "bench.triggerer_process"],
            input=json.dumps({"waits": parameters, "delay": DELAY_SECONDS, "polls": POLLS}),
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(process.stderr[-2000:])
        measured = json.loads(process.stdout.splitlines()[-1])
        calls = Counter(str(event["operation"]) for event in aws.events.calls())
    polls = measured.pop("polls")
    return Cost(kind, waits, calls={name: round(n / polls, 1) for name, n in calls.items()}, **measured)


def _clusters(aws: LocalAws, count: int) -> list[dict[str, Any]]:
    """Start clusters, and return the parameters of a wait for the end of each."""
    return [{"job_flow_id": name, "target": "cluster_ended"} for name in _running(aws, count)]


def _running(aws: LocalAws, count: int) -> list[str]:
    job_flow = _address(aws).job_flow
    emr = boto3.client("emr")
    names = [emr.run_job_flow(**job_flow)["JobFlowId"] for _ in range(count)]
    aws.clock.advance(_HOUR)
    return names


def _address(aws: LocalAws) -> Address:
    """Return an address, and a cluster in a subnet without public addresses, of which the local EMR has too few."""
    address = Address.allocated(aws)
    subnet_id = address.job_flow["Instances"]["Ec2SubnetId"]
    boto3.client("ec2").modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": False})
    return address


def _primaries(aws: LocalAws, count: int) -> list[dict[str, Any]]:
    """Return the parameters of waits: half for primary instances of new clusters, half for addresses on others."""
    address = _address(aws)
    emr, ec2 = boto3.client("emr"), boto3.client("ec2")
    new = [emr.run_job_flow(**address.job_flow)["JobFlowId"] for _ in range(count // 2)]
    aws.clock.advance(20)  # the instances are pending
    names = [emr.run_job_flow(**address.job_flow)["JobFlowId"] for _ in range(count - len(new))]
    aws.clock.advance(12)
    addresses = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(min(len(names), _ADDRESSES))]
    free = [{"allocation_id": addresses[n % len(addresses)], "job_flow_id": name} for n, name in enumerate(names)]
    return [*({"job_flow_id": name, "target": "primary_running"} for name in new), *free]


def _queues(aws: LocalAws, count: int) -> list[dict[str, Any]]:
    """Put owners into the queues of addresses with active leases, and return the parameters of their waits."""
    now = aws.clock.now().timestamp()
    store = open_store(f"{STORE}?create=true", lambda service, _: boto3.client(service))
    store.check()
    ec2 = boto3.client("ec2")
    given = []
    for place, cluster in enumerate(_running(aws, QUEUE_ADDRESSES)):
        allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
        attempts = [
            Attempt(f"owner-{place}-{n}", f"bench/dag-{place}-{n}/run/create/-1", 1, f"nonce-{place}-{n}")
            for n in range(count // QUEUE_ADDRESSES + 1)
        ]
        lease = Lease(1, attempts[0], Phase.ACTIVE, now, now, now + _HOUR, "daily", resource_id=cluster)
        queue = tuple(Entry(n + 1, each, now, "daily", 3600) for n, each in enumerate(attempts) if n)
        store.write(allocation_id, Record(issued=len(attempts), lease=lease, queue=queue), expected_version=None)
        given += [
            {
                "allocation_id": allocation_id,
                "lock_store": STORE,
                "speaker": asdict(each),
                "cluster_name": "daily",
                "handover_seconds": 3600,
            }
            for each in attempts[1:]
        ]
    return given


def main() -> int:
    """Measure, print the table, and return 0 if the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(_TABLES), help="measure these waits only")
    options = parser.parse_args()
    console = Console()
    costs = []
    for cost in measure([options.only] if options.only else tuple(_TABLES)):
        costs.append(cost)
        console.lines("  ".join(cost.row()))
    console.heading("Waits in one triggerer")
    console.lines(*table([cost.row() for cost in costs], header=HEADER), "", *NOTES)
    console.heading("Figures")
    return 0 if console.targets(dict(_targets(costs))) else 1


def _targets(costs: list[Cost]) -> Iterator[tuple[str, bool]]:
    for cost in costs:
        name = f"{cost.waits} {_TABLES[cost.kind]}"
        if cost.kind == "ended":
            pages = -(-cost.waits // _PAGE_SIZE)
            yield f"{name}: at most {pages} calls a tick", sum(cost.calls.values()) <= pages
        if cost.kind != "queue" and cost.waits == max(WAITS):
            yield f"{name}: at most {_MOST_MB} MB", cost.memory_mb <= _MOST_MB
            yield f"{name}: at most {_MOST_CLIENTS} clients", cost.clients <= _MOST_CLIENTS
            yield f"{name}: each has polled within {_MOST_SECONDS} s", cost.polled_after <= _MOST_SECONDS
            yield f"{name}: at most {_MOST_CPU} s of CPU until then", cost.cpu_seconds <= _MOST_CPU
            yield f"{name}: no block of over {_LONGEST_BLOCK} s", cost.longest_block <= _LONGEST_BLOCK
        if cost.kind == "queue":
            yield f"{name}: at most {_MOST_QUEUE_MB} MB", cost.memory_mb <= _MOST_QUEUE_MB
            yield f"{name}: at most {_MOST_CLIENTS} clients", cost.clients <= _MOST_CLIENTS


if __name__ == "__main__":
    sys.exit(main())
