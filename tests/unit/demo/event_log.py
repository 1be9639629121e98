"""A hand-made event log of two lease periods that went well, for tests to break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from demo.observe import Sample
from harness.airflow import TaskState

START = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
EIP = "203.0.113.10"
DAGS = ("first_daily", "second_daily")
CLUSTERS = ("j-1", "j-2")


class Log:
    """An event log under construction."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, minute: float, kind: str, **fields: Any) -> dict[str, Any]:
        event = {
            "seq": len(self.events) + 1,
            "time": (START + timedelta(minutes=minute)).isoformat(),
            "kind": kind,
            **fields,
        }
        self.events.append(event)
        return event

    def call(self, minute: float, operation: str, request: dict[str, Any], **response: Any) -> None:
        fields = {"service": "emr", "operation": operation, "request": request, "response": response}
        self.add(minute, "call", status=200, error_code=None, **fields)

    def associate(self, minute: float, **request: Any) -> None:
        fixed = {"AllocationId": "eipalloc-1", "NetworkInterfaceId": "eni-1", "AllowReassociation": False}
        self.call(minute, "AssociateAddress", {**fixed, **request})

    def address(self, minute: float, job_flow_id: str, change: str) -> None:
        self.add(minute, "address", job_flow_id=job_flow_id, change=change, association_id="eipassoc-1")

    def connection(
        self,
        minute: float,
        job_flow_id: str,
        *,
        from_ip: str = EIP,
        error_code: int | None = None,
        instance_id: str = "i-1",
    ) -> None:
        answer = {"admitted": error_code is None, "error_code": error_code}
        fields = {"from_ip": from_ip, "instance_id": instance_id, **answer}
        self.add(minute, "connection", service="azure_sql", job_flow_id=job_flow_id, **fields)

    def session(self, minute: float, dag_id: str, job_flow_id: str) -> None:
        owner = {"Key": "airflow-eip:owner-name", "Value": f"default/{dag_id}/run/azure.create/-1"}
        self.call(minute, "RunJobFlow", {"Tags": [owner]}, JobFlowId=job_flow_id)
        self.add(minute + 1, "instance", job_flow_id=job_flow_id, state="running")
        self.associate(minute + 1.5)
        self.address(minute + 1.5, job_flow_id, "associated")
        self.add(minute + 3, "cluster", job_flow_id=job_flow_id, **{"from": "STARTING", "to": "RUNNING"})
        self.add(minute + 3, "step", job_flow_id=job_flow_id, step_id=f"s-{job_flow_id}", state="RUNNING")
        self.connection(minute + 4, job_flow_id)
        self.add(minute + 5, "step", job_flow_id=job_flow_id, step_id=f"s-{job_flow_id}", state="COMPLETED")
        self.address(minute + 5.5, job_flow_id, "disassociated")
        self.add(minute + 7, "cluster", job_flow_id=job_flow_id, **{"from": "TERMINATING", "to": "TERMINATED"})


def task(
    dag_id: str = DAGS[0], *, task_id: str = "azure.create", state: str = "deferred", since: float = 0
) -> TaskState:
    deferred_since = START + timedelta(minutes=since) if state == "deferred" else None
    return TaskState(
        id=f"{dag_id}.{task_id}",
        dag_id=dag_id,
        task_id=task_id,
        state=state,
        try_number=1,
        deferred_since=deferred_since,
    )


def sample(minute: float, *tasks: TaskState, owners: frozenset[str] = frozenset(), step_processes: int = 0) -> Sample:
    at = START + timedelta(minutes=minute)
    return Sample(taken_at=at, aws_time=at, tasks=tasks, process_owners=owners, step_processes=step_processes)
