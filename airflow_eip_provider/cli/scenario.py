"""What ``airflow-eip selftest`` and ``airflow-eip drill`` share: each acts on a real account and reports the result."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.lease.description import holder_of
from airflow_eip_provider.lease.observation import LeaseCondition, condition_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from airflow_eip_provider.lease.observation import Observation
    from airflow_eip_provider.lease.record import Record


def new_run_id() -> str:
    """Return a run id that differs from that of every other run."""
    return f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def other_lease(observation: Observation, *, job_flow_id: str | None = None) -> str | None:
    """
    Describe the current lease; ``None`` when there is none, or it belongs to the given cluster.

    :param job_flow_id: the cluster whose lease is expected.
    """
    lease = observation.snapshot.record.lease
    if lease is None or condition_of(observation) is LeaseCondition.FINISHED:
        return None
    is_expected = job_flow_id is not None and lease.resource_id == job_flow_id
    return None if is_expected else f"its lease is {holder_of(observation)}"


def first_in_queue(record: Record) -> str | None:
    """Describe the first owner in the queue; ``None`` when the queue is empty."""
    queue = record.queue
    return f"'{queue[0].attempt.name}' is the first of {len(queue)} in its queue" if queue else None


def terminate_command(job_flow_id: str, *, region: str) -> str:
    """Return the AWS CLI command that terminates a cluster."""
    return f"aws emr terminate-clusters --region {region} --cluster-ids {job_flow_id}"


def iso(at: datetime) -> str:
    """Format a time for JSON."""
    return at.isoformat(timespec="seconds")


def minutes(span: timedelta) -> str:
    """Format a time span in minutes."""
    return f"{span.total_seconds() / 60:g} min"


def error_facts(error: BaseException | None) -> dict[str, str] | None:
    """Return an error as plain JSON."""
    return None if error is None else {"type": type(error).__name__, "message": str(error)}


def public_json(facts: Mapping[str, Any], *, account: str, public_ip: str | None) -> str:
    """Return a report as JSON text with the account number and the public address replaced by placeholders."""
    text = json.dumps(facts, indent=2)
    for secret, placeholder in ((account, "ACCOUNT"), (public_ip, "PUBLIC_IP")):
        text = text.replace(secret, placeholder) if secret else text
    return text + "\n"
