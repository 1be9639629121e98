"""Event logs of the local EMR by hand, for judges to be wrong about."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Self

_ZERO = datetime(2030, 1, 1, tzinfo=UTC)


class Log:
    """A log that is written line by line; time stands still unless it is told to pass."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._now = _ZERO
        self._record: dict[str, Any] = {"issued": 0, "lease": None, "queue": [], "history": []}

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
        """Launch a cluster; underscores of a tag's name stand for hyphens."""
        listed = [{"Key": f"airflow-eip:{key.replace('_', '-')}", "Value": value} for key, value in tags.items()]
        self.call(who, "RunJobFlow", request={"Tags": listed}, response={"JobFlowId": cluster})
        return self.cluster(cluster, "STARTING")

    def cluster(self, cluster: str, *states: str, code: str = "USER_REQUEST", message: str = "") -> Self:
        for state in states:
            self.add("cluster", job_flow_id=cluster, to=state, reason={"Code": code, "Message": message})
        return self

    def address(self, cluster: str | None, change: str, **rest: Any) -> Self:
        instance = f"i-{cluster}" if cluster else None
        return self.add("address", job_flow_id=cluster, instance_id=instance, change=change, **rest)

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

    def look(self, worker: str) -> Self:
        return self.call(worker, "GetItem")

    def write(self, worker: str, **changes: Any) -> Self:
        """Change fields of the record."""
        self._record = {**self._record, **changes}
        return self.add("stored", worker=worker, record=json.dumps(self._record))

    def queue(self, *tokens: int) -> Self:
        """Let owners queue: token 3 is worker w03's."""
        return self.write("w00", queue=[entry(token) for token in tokens], issued=max(tokens, default=0))

    def take(self, token: int, *, queue: tuple[int, ...] = ()) -> Self:
        """Let an owner look and take the lease, and leave those in the queue who are named."""
        self.look(f"w{token:02}")
        return self.write(f"w{token:02}", lease=lease(token), queue=[entry(left) for left in queue])

    def free(self, token: int) -> Self:
        """Let the holder look and end its lease."""
        self.look(f"w{token:02}")
        history = [*self._record["history"], {"token": token}]
        return self.write(f"w{token:02}", lease=None, history=history)

    def period(self, token: int) -> Self:
        """Write down a lease period that is as it should be."""
        cluster = f"j-{token}"
        self.take(token).launch(cluster, token=str(token)).address(cluster, "associated")
        self.write(f"w{token:02}", lease=lease(token, phase="held"), issued=token)
        self.step(cluster, "PENDING", "RUNNING", "COMPLETED").cluster(cluster, "TERMINATING")
        return self.address(cluster, "disassociated").free(token).cluster(cluster, "TERMINATED")


def entry(token: int) -> dict[str, Any]:
    return {"token": token, "speaker": {"name": f"stress/stress/w{token:02}-0000/create/-1", "try_number": 1}}


def lease(token: int, *, phase: str = "taken") -> dict[str, Any]:
    return {**entry(token), "phase": phase, "carrier": f"j-{token}" if phase == "held" else None}
