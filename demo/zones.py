"""A scenario: the first choice of a job is in a zone without capacity, and its fallback in another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from demo.timeline import Session, chart, owner_dag, sessions
from harness.judge import Launch, launches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from demo.aws import AwsClient
    from demo.runs import Runs
    from harness.judge import Event

DAG = "moved_daily"
INSTANCE_TYPE = "r5.xlarge"  # the other scenarios' clusters have another one, which the zone goes on to have
_TOKEN_TAG = "airflow-eip:token"  # noqa: S105 - the lease's
_CANDIDATE_TAG = "airflow-eip:candidate"


@dataclass(frozen=True, kw_only=True)
class Zones:
    """
    Where the job is put.

    :param empty: the zone without capacity, and its subnet.
    :param other: the zone of the fallback, and its subnet.
    """

    empty: tuple[str, str]
    other: tuple[str, str]

    @classmethod
    def of_default_vpc(cls, ec2: Any) -> Zones:
        """Take the default VPC's subnets in the first two zones."""
        found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
        first, second = sorted((subnet["AvailabilityZone"], subnet["SubnetId"]) for subnet in found)[:2]
        return cls(empty=first, other=second)

    def of_subnet(self, subnet_id: str) -> str:
        """Return the zone of one of the two subnets."""
        return next((zone for zone, subnet in (self.empty, self.other) if subnet == subnet_id), "another zone")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One candidate's cluster: what RunJobFlow was sent, and what became of it."""

    session: Session
    zone: str
    candidate: str | None
    token: str | None


class MovedJob:
    """
    Runs one job whose first zone has no instance of its type.

    :param after: DAGs that have had their address before it begins: it does not slow them down while they start.
    """

    def __init__(self, *, aws: AwsClient, runs: Runs, zones: Zones, after: Sequence[str]) -> None:
        self._aws = aws
        self._runs = runs
        self._zones = zones
        self._after = after
        self._begun = False

    def advance(self, events: list[Event]) -> None:
        """Empty the zone, and start the run."""
        if self._begun:
            return
        served = {session.owner for session in sessions(events) if session.bound}
        if all(dag_id in served or self._runs.have_ended(dag_id) for dag_id in self._after):
            self._begun = True
            self._aws.limit_capacity(self._zones.empty[0], instance_type=INSTANCE_TYPE)
            self._runs.start(DAG)

    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._runs.have_ended(DAG)

    def where(self) -> str:
        """Nothing beside its tasks is waited for."""
        return ""


def tried(events: Sequence[Event], zones: Zones) -> list[Tried]:
    """Return the clusters of the job, in the order of their launches."""
    its = {session.job_flow_id: session for session in sessions(events) if session.owner == DAG}
    return [_tried(launch, its[launch.job_flow_id], zones) for launch in launches(events) if owner_dag(launch) == DAG]


def _tried(launch: Launch, session: Session, zones: Zones) -> Tried:
    subnet_id = str(launch.call["request"].get("Instances", {}).get("Ec2SubnetId"))
    return Tried(
        session=session,
        zone=zones.of_subnet(subnet_id),
        candidate=launch.tags.get(_CANDIDATE_TAG),
        token=launch.tags.get(_TOKEN_TAG),
    )


def lanes(found: Sequence[Tried], *, wanted_since: datetime) -> list[str]:
    """Draw a lane for each cluster, under the name of its zone; without the scale, which is the run's own."""
    named = [replace(one.session, owner=f"{DAG} in {one.zone}") for one in found]
    return chart(named, start=wanted_since, waiting_since={})[1:] if named else []
