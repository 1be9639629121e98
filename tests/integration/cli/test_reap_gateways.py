"""``airflow-eip reap`` and the NAT gateways of lease periods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.lease_client.client import StoreLeaseClient
from tests.integration.operators.aws_state import STORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.operators.nat import Network


@pytest.fixture
def behind(
    left: Callable[..., str], network: Network, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> str:
    """A cluster behind a NAT gateway that a task of another environment left."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    return left("gone", binding=network.binding, job_flow_overrides=network.overrides(overrides))


def test_the_gateway_of_a_reaped_cluster_goes_and_its_route_is_put_back(clocked, behind, reap, network):
    assert reap("--environment", "gone", "--yes").status == 0
    clocked.clock.advance(300)
    network.assert_as_before()


def test_the_gateway_is_removed_when_the_cancelled_steps_have_ended(clocked, behind, reap, network, emr, step):
    emr.add_job_flow_steps(JobFlowId=behind, Steps=[step("--sleep", "1000000")])
    clocked.clock.advance(60)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert "is on its NAT gateway until that is deleted" in said.err
    clocked.clock.advance(300)
    network.assert_as_before()


def test_the_next_run_removes_the_gateway_of_steps_that_run_for_long(clocked, behind, reap, network, running_step):
    running_step(behind)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 1
    assert "its NAT gateway with Elastic IP" in said.err
    clocked.clock.advance(900)
    assert reap("--yes").status == 0
    clocked.clock.advance(300)
    network.assert_as_before()


def test_the_gateway_of_a_cluster_that_is_kept_after_all_is_left_alone(left, network, overrides, reap, monkeypatch):
    """A newer try of its owner has adopted it after the survey."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    left("gone", binding=network.binding, job_flow_overrides=network.overrides(overrides), lock_store=STORE)
    monkeypatch.setattr(StoreLeaseClient, "undo", lambda *_: None)
    said = reap("--environment", "gone", "--yes", "--lock-store", STORE)
    assert "kept after all" in said.err
    assert network.target() == network.gateways("available")[0]


def test_a_gateway_that_outlived_its_cluster_is_listed_and_removed(clocked, behind, reap, network, only_looked):
    clocked.end_cluster(behind)
    clocked.clock.advance(300)
    before = int(clocked.events.read()[-1]["seq"])
    dry = reap()
    only_looked(before)
    assert dry.status == 3
    (found,) = dry.result["gateways"]
    assert (found["job_flow_id"], [found["nat_gateway_id"]]) == (behind, network.gateways())
    said = reap("--yes")
    assert said.status == 0
    assert [outcome["reaped"] for outcome in said.result["outcomes"]] == [True]
    clocked.clock.advance(120)
    network.assert_as_before()


def test_the_gateway_of_a_cluster_that_lives_is_left_alone(clocked, behind, reap, network):
    said = reap("--yes")
    assert said.result["gateways"] == []
    assert network.target() == network.gateways("available")[0]


def test_a_gateway_that_cannot_be_removed_is_logged_as_such(clocked, behind, reap, network, caplog):
    clocked.end_cluster(behind)
    clocked.clock.advance(300)
    (gateway,) = network.gateways()
    clocked.faults.add(operation="DeleteNatGateway", kind="error", code="Boom", status=400)
    said = reap("--yes")
    assert said.status == 1
    assert [outcome["failed"] for outcome in said.result["outcomes"]] == [True]
    assert f"Removing NAT gateway {gateway} failed" in caplog.text
    assert network.gateways() == [gateway]
