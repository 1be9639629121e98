"""The page about a zone without capacity: its times are those of the local EMR, and its formulas hold there."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.operators.emr.next_candidate import ENDS_WITHIN
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "no-capacity.md"
A, B = "eu-west-1a", "eu-west-1b"
POLL_SECONDS = 15
CORE = {"InstanceRole": "CORE", "InstanceType": "r5.xlarge", "InstanceCount": 2}


@pytest.fixture
def create(clocked: Any, ec2: Any) -> Callable[..., Task]:
    """Make a creating task whose first choice is zone a, and whose fallback is zone b."""
    subnets = {found["AvailabilityZone"]: found["SubnetId"] for found in ec2.describe_subnets()["Subnets"]}
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]

    def make(*more_groups: dict[str, Any], **given: Any) -> Task:
        groups = [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}, *more_groups]
        instances = {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True, "Ec2SubnetId": subnets[A]}
        parameters = {
            "allocation_id": allocation_id,
            "job_flow_overrides": {
                "Name": "daily",
                "ReleaseLabel": "emr-7.5.0",
                "JobFlowRole": "EMR_EC2_DefaultRole",
                "ServiceRole": "EMR_DefaultRole",
                "Instances": instances,
            },
            "emr_conn_id": None,
            "aws_conn_id": None,
            "lock_store": None,
            "waiter_delay": POLL_SECONDS,
            "deferrable": True,
            "on_multi_node": "allow",
            "fallbacks": [{"Instances": {"Ec2SubnetId": subnets[B]}}],
        }
        return Task(EmrCreateWithStaticIpOperator(task_id="create", **{**parameters, **given}))

    return make


def measured(aws: Any, *, after: int) -> tuple[int, int, int]:
    """Return the seconds from the first RunJobFlow to the last one, to the bind that lasted, and to the start."""
    events = aws.events.read(after=after)
    launches = [event for event in events if event["kind"] == "call" and event["operation"] == "RunJobFlow"]
    bound = next(e for e in reversed(events) if e["kind"] == "address" and e["change"] == "associated")
    started = next(e for e in events if e["kind"] == "cluster" and e["to"] in {"RUNNING", "WAITING"})
    begun = datetime.fromisoformat(launches[0]["time"])
    last, to_bound, to_start = (
        round((datetime.fromisoformat(event["time"]) - begun).total_seconds())
        for event in (launches[-1], bound, started)
    )
    return last, to_bound, to_start


def on_the_page(what: str) -> tuple[int, ...]:
    """Return the figures of a row of the page's table of measured times."""
    section = PAGE.read_text(encoding="utf-8").split("## How long it takes\n", 1)[1].split("\n## ", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    (row,) = [line[1:] for line in cells if line[0] == what]
    return tuple(int(cell.removesuffix(" s").replace(",", "")) for cell in row)


def nothing(_aws: Any) -> None:
    """Nothing fails."""


def no_primary(aws: Any) -> None:
    aws.limit_capacity(A)


def no_core(aws: Any) -> None:
    aws.limit_capacity(A, instance_type=CORE["InstanceType"])


def outage(aws: Any) -> None:
    aws.clock.call_later(100, lambda: aws.take_zone_down(A), name="the zone is lost")


@pytest.mark.parametrize(
    ("fails", "groups", "what"),
    [
        (nothing, (), "nothing"),
        (no_primary, (), "the zone has no instance for the primary node"),
        (no_core, (CORE,), "the zone has no instances for the core nodes"),
        (outage, (), "the zone is lost 100 s after the launch"),
    ],
)
def test_the_measured_times_are_those_of_the_local_emr(clocked, create, fails, groups, what):
    task = create(*groups)
    fails(clocked)
    before = clocked.events.last
    task.run()
    assert measured(clocked, after=before) == on_the_page(what)


def test_the_numbers_of_the_formulas_are_the_codes(create):
    text = PAGE.read_text(encoding="utf-8")
    operator = create()._pristine
    assert f"`start_timeout` ({operator.start_timeout // timedelta(minutes=1)} minutes" in text
    assert f"{ENDS_WITHIN // timedelta(minutes=1)} minutes for the end" in text
    assert f"{POLL_SECONDS} seconds" in text
    hours = operator.handover_seconds / 3600
    assert f"= {hours:g} hours" in text
    assert re.search(r"`fallback_rounds` \(1\)", text)
