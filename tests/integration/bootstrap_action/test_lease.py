"""The lease of a cluster that nobody's Airflow launched, with boto3 in the AWS CLI's place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from airflow_eip_provider.bootstrap_action import lease
from tests.integration.bootstrap_action.conftest import STORE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONCE = Config(retries={"total_max_attempts": 1})  # as the AWS CLI sends what changes something
DONE, FAILED, BUSY, UNANSWERED = 0, 1, 3, 4
SURFACE_SECONDS = 900


class Run:
    """One run of the bootstrap action on a cluster."""

    def __init__(self, job_flow_id: str, state: Path, allocation_id: str, region: str) -> None:
        self.job_flow_id = job_flow_id
        self.state = state
        self._given = ["--lock-store", STORE, "--environment", "cron", "--region", region]
        self._given += ["--allocation-id", allocation_id, "--cluster-id", job_flow_id, "--state", str(state)]

    def __call__(self, program: str, *more: str) -> int:
        return lease.main([program, *self._given, "--poll", "0.01", *more])


@pytest.fixture
def run_on(
    boto: Any, table: Any, local_aws: Any, allocation_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Run]:
    clients: dict[str, Any] = {}
    monkeypatch.setattr(lease, "AwsCli", lambda service, **_: clients.setdefault(service, boto(service, config=ONCE)))
    count = iter(range(100))
    return lambda job_flow_id: Run(job_flow_id, tmp_path / f"{next(count)}.json", allocation_id, local_aws.region)


@pytest.fixture
def bind(ec2: Any, local_aws: Any, allocation_id: str) -> Callable[[str], None]:
    """Associate the address as the script does."""

    def associate(job_flow_id: str) -> None:
        interface = local_aws.cluster(job_flow_id).primary.nics[0].id
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface, AllowReassociation=False)

    return associate


def test_two_clusters_queue_and_the_second_comes_when_the_first_has_ended(
    run_on, by_hand, bind, record, local_aws, caplog
):
    first, second = run_on(by_hand()), run_on(by_hand())
    assert first("enter") == DONE
    bind(first.job_flow_id)
    assert first("hand-over") == DONE
    assert second("enter") == BUSY
    assert record().place(record().queue[0].attempt.owner) == 0
    local_aws.end_cluster(first.job_flow_id, state="TERMINATED", message="done")
    local_aws.clock.advance(300)
    assert second("enter") == DONE
    assert record().lease.token == 2
    assert record().history[0].resource_id == first.job_flow_id


def test_a_cluster_that_gives_up_leaves_the_queue_at_once(run_on, by_hand, record):
    first, second = run_on(by_hand()), run_on(by_hand())
    assert first("enter") == DONE
    assert first("undo") == DONE
    assert (record().lease, record().queue) == (None, ())
    assert second("enter") == DONE


def test_undo_repeats_a_throttled_write(run_on, by_hand, record, local_aws):
    run = run_on(by_hand())
    assert run("enter") == DONE
    local_aws.faults.add(operation="PutItem", kind="throttle")
    assert run("undo") == DONE
    assert (record().lease, record().queue) == (None, ())


def test_undo_disassociates_the_address_when_another_owner_has_the_lease(
    run_on, by_hand, bind, record, local_aws, associated_instance_of
):
    slow, other = run_on(by_hand()), run_on(by_hand())
    assert slow("enter") == DONE
    local_aws.clock.advance(SURFACE_SECONDS + 1)
    assert other("enter") == DONE, "a cluster that never handed over loses the lease"
    bind(slow.job_flow_id)
    assert slow("hand-over") == FAILED
    assert slow("undo", "--associated") == DONE
    assert associated_instance_of() is None
    assert record().lease.token == 2
    assert other("hand-over") == DONE


def test_undo_leaves_an_address_that_this_run_did_not_bind(run_on, by_hand, bind, associated_instance_of):
    job_flow_id = by_hand()
    bind(job_flow_id)
    there = associated_instance_of()
    late = run_on(job_flow_id)
    assert late("undo") == DONE
    assert associated_instance_of() == there


def test_a_later_run_on_the_same_cluster_replaces_the_earlier_one(
    run_on, by_hand, bind, record, associated_instance_of, caplog
):
    job_flow_id = by_hand()
    earlier, later = run_on(job_flow_id), run_on(job_flow_id)
    assert earlier("enter") == DONE
    assert later("enter") == DONE
    assert record().lease.token == 1, "the same owner"
    bind(job_flow_id)
    assert later("hand-over") == DONE
    assert earlier("hand-over") == FAILED
    assert earlier("undo", "--associated") == DONE
    assert record().lease.phase.value == "held"
    assert associated_instance_of() is not None
    assert earlier("enter") == FAILED
    assert "a newer try of this bootstrap action is at work" in caplog.text


def test_a_run_after_a_hand_over_finds_the_lease_and_hands_it_over_again(run_on, by_hand, bind, record):
    job_flow_id = by_hand()
    first, again = run_on(job_flow_id), run_on(job_flow_id)
    assert first("enter") == DONE
    bind(job_flow_id)
    assert first("hand-over") == DONE
    assert again("enter") == DONE
    assert again("hand-over") == DONE
    assert (record().lease.token, record().lease.resource_id) == (1, job_flow_id)


def test_a_conflicting_or_unanswered_write_is_resolved_by_a_read(run_on, by_hand, record, local_aws):
    run = run_on(by_hand())
    local_aws.faults.add(operation="PutItem", kind="lost_response")
    assert run("enter") == DONE
    assert record().lease.token == 1
    assert json.loads(run.state.read_text())["token"] == 1


def test_an_unanswered_store_is_called_again_until_the_wait_is_over(run_on, by_hand, local_aws, caplog):
    local_aws.faults.add(operation="GetItem", kind="throttle", times=1000)
    run = run_on(by_hand())
    assert run("enter", "--wait", "0.5") == UNANSWERED
    assert "trying again: using lock store" in caplog.text
    local_aws.faults.clear()
    assert run("enter") == DONE


def test_a_missing_permission_is_named(run_on, by_hand, local_aws, caplog):
    local_aws.deny("GetItem")
    assert run_on(by_hand())("enter") == FAILED
    assert "lack the permission dynamodb:GetItem" in caplog.text


def test_a_finished_lease_is_ended_by_the_first_in_the_queue_or_later_ones(run_on, by_hand, bind, record, local_aws):
    holder, dead, third = run_on(by_hand()), run_on(by_hand()), run_on(by_hand())
    assert holder("enter") == DONE
    bind(holder.job_flow_id)
    assert holder("hand-over") == DONE
    assert dead("enter") == BUSY
    assert third("enter") == BUSY
    local_aws.end_cluster(holder.job_flow_id, state="TERMINATED", message="done")
    local_aws.clock.advance(300)
    assert third("enter") == BUSY, "it is the turn of the one before it"
    assert record().lease.token == 1
    assert dead("enter") == DONE
