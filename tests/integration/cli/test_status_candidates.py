"""``airflow-eip status`` shows which candidate of a job with fallbacks has the address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = "eu-west-1a", "eu-west-1b"
STORE = "dynamodb://leases?create=true"


@pytest.fixture
def subnets(ec2: Any) -> dict[str, str]:
    """The default VPC's subnets, by their zones."""
    return {found["AvailabilityZone"]: found["SubnetId"] for found in ec2.describe_subnets()["Subnets"]}


@pytest.fixture
def create(create_operator: Any, overrides: dict[str, Any], subnets: dict[str, str], monkeypatch: Any) -> Any:
    """Return a creating operator whose first choice is zone a, and whose fallback is zone b."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    overrides["Instances"]["Ec2SubnetId"] = subnets[A]
    fallbacks = [{"Instances": {"Ec2SubnetId": subnets[B]}}]
    return lambda **given: create_operator(**{"lock_store": STORE, "fallbacks": fallbacks, **given})


@pytest.fixture
def status(clocked: Any, allocation_id: str, run: Callable[..., Any]) -> Callable[..., str]:
    """Run ``status``; return what is printed."""

    def ask(*arguments: str, lock_store: str | None = STORE) -> str:
        store = ["--lock-store", lock_store] if lock_store else []
        said = run("status", "--allocation-id", allocation_id, *store, *arguments)
        assert said.status == 0
        return str(said.out)

    return ask


def test_the_fallback_that_has_the_address_is_shown(clocked, create, status, subnets):
    clocked.limit_capacity(A)
    Task(create()).run()
    assert f"1 (0 is the first choice), in {B}, {subnets[B]}" in status()
    assert json.loads(status("--json"))["candidate"] == {"number": 1, "zone": B, "subnet": subnets[B]}


@pytest.mark.parametrize("lock_store", [STORE, None])
def test_without_a_lock_store_it_is_that_of_the_cluster_that_carries_the_address(create, status, lock_store):
    Task(create(lock_store=lock_store)).run()
    assert f"0 (the first choice), in {A}" in status(lock_store=lock_store)


def test_a_job_without_fallbacks_has_no_candidate(create, status):
    Task(create(fallbacks=())).run()
    assert json.loads(status("--json"))["candidate"] is None
    assert "candidate" not in status()
