"""Builds event logs of the local EMR by hand, for tests of the checks that read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Self

_ZERO = datetime(2030, 1, 1, tzinfo=UTC)


class Log:
    """A log that is written event by event; its time changes only by :meth:`wait`."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._now = _ZERO
        self._at: dict[str, str] = {}
        self._records: dict[str, dict[str, Any]] = {}

    def at(self, allocation_id: str) -> Self:
        """Go on with the record and the moves of one of several addresses."""
        self._at = {"allocation_id": allocation_id}
        return self

    @property
    def _record(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"issued": 0, "lease": None, "queue": [], "history": []}
        return self._records.setdefault(self._at.get("allocation_id", ""), empty)

    @property
    def now(self) -> float:
        return self._now.timestamp()

    def wait(self, seconds: float) -> Self:
        self._now += timedelta(seconds=seconds)
        return self

    def add(self, kind: str, **fields: Any) -> Self:
        time = self._now.isoformat()
        self.events.append({"seq": len(self.events) + 1, "time": time, "kind": kind, **fields})
        return self

    def launch(self, cluster: str, *, who: str = "-", **tags: str) -> Self:
        """Launch a cluster with tags; an underscore in a keyword becomes a hyphen in the tag's key."""
        listed = [{"Key": f"airflow-eip:{key.replace('_', '-')}", "Value": value} for key, value in tags.items()]
        self.call(who, "RunJobFlow", request={"Tags": listed}, response={"JobFlowId": cluster})
        return self.cluster(cluster, "STARTING")

    def cluster(self, cluster: str, *states: str, code: str = "USER_REQUEST", message: str = "") -> Self:
        for state in states:
            self.add("cluster", job_flow_id=cluster, to=state, reason={"Code": code, "Message": message})
        return self

    def address(self, cluster: str | None, change: str, **rest: Any) -> Self:
        instance = f"i-{cluster}" if cluster else None
        return self.add("address", job_flow_id=cluster, instance_id=instance, change=change, **self._at, **rest)

    def associate(self, **request: Any) -> Self:
        return self.call("-", "AssociateAddress", request=request)

    def step(self, cluster: str, *states: str) -> Self:
        for state in states:
            self.add("step", job_flow_id=cluster, step_id=f"s-{cluster}", state=state)
        return self

    def call(
        self, worker: str, operation: str, *, status: int = 200, error_code: str | None = None, **rest: Any
    ) -> Self:
        agent = worker if " " in worker else f"Boto3 app/{worker}"
        return self.add("call", operation=operation, status=status, error_code=error_code, user_agent=agent, **rest)

    def read_record(self, worker: str) -> Self:
        key = {"request": {"Key": {"address": {"S": self._at["allocation_id"]}}}} if self._at else {}
        return self.call(worker, "GetItem", **key)

    def write(self, worker: str, **changes: Any) -> Self:
        """Change fields of the record."""
        self._record.update(changes)
        return self.add("stored", worker=worker, record=json.dumps(self._record), **self._at)

    def queue(self, *tokens: int) -> Self:
        """Put owners into the queue: token 3 belongs to worker w03."""
        return self.write("w00", queue=[entry(token) for token in tokens], issued=max(tokens, default=0))

    def acquire(self, token: int, *, queue: tuple[int, ...] = ()) -> Self:
        """Read the record, and acquire the lease for an owner; ``queue`` is the queue after it."""
        self.read_record(f"w{token:02}")
        return self.write(f"w{token:02}", lease=lease(token), queue=[entry(left) for left in queue])

    def release(self, token: int) -> Self:
        """Read the record, and release the holder's lease."""
        self.read_record(f"w{token:02}")
        history = [*self._record["history"], {"token": token}]
        return self.write(f"w{token:02}", lease=None, history=history)

    def lease_period(self, token: int) -> Self:
        """Add a complete and correct lease period."""
        cluster = f"j-{token}"
        self.acquire(token).launch(cluster, token=str(token)).address(cluster, "associated")
        self.write(f"w{token:02}", lease=lease(token, phase="held"), issued=token)
        self.step(cluster, "PENDING", "RUNNING", "COMPLETED").cluster(cluster, "TERMINATING")
        return self.address(cluster, "disassociated").release(token).cluster(cluster, "TERMINATED")


def entry(token: int) -> dict[str, Any]:
    return {"token": token, "speaker": {"name": f"stress/stress/w{token:02}-0000/create/-1", "try_number": 1}}


def lease(token: int, *, phase: str = "taken") -> dict[str, Any]:
    return {**entry(token), "phase": phase, "carrier": f"j-{token}" if phase == "held" else None}
