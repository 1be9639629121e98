"""The scenario with fallbacks: the first zone of a job has no capacity, and its fallback is in another zone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from demo.timeline import Session, chart, sessions
from harness.judge import TOKEN_TAG, launches
from harness.network import default_subnets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from demo.aws import AwsClient
    from demo.runs import Runs
    from harness.judge import Event

DAG = "moved_daily"
INSTANCE_TYPE = "r5.xlarge"  # not that of the other scenarios' clusters, so that these still find capacity
_CANDIDATE_TAG = "airflow-eip:candidate"


@dataclass(frozen=True, kw_only=True)
class Zones:
    """
    The zones of the job.

    :param empty: the zone without capacity, and its subnet.
    :param other: the zone of the fallback, and its subnet.
    """

    empty: tuple[str, str]
    other: tuple[str, str]

    @classmethod
    def of_default_vpc(cls, ec2: Any) -> Zones:
        """Return the first two zones of the default VPC."""
        first, second = ((subnet["AvailabilityZone"], subnet["SubnetId"]) for subnet in default_subnets(ec2)[:2])
        return cls(empty=first, other=second)

    def of_subnet(self, subnet_id: str) -> str:
        """Return the zone of one of the two subnets."""
        return next((zone for zone, subnet in (self.empty, self.other) if subnet == subnet_id), "another zone")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One candidate's cluster: the parameters of its launch, and its lease period."""

    session: Session
    zone: str
    candidate: str | None
    token: str | None


class MovedJob:
    """
    Runs one job whose first zone has no instance of its type.

    :param after: DAGs that must have had their address before, so that the job does not slow down their start.
    """

    def __init__(self, *, aws: AwsClient, runs: Runs, zones: Zones, after: Sequence[str]) -> None:
        self._aws = aws
        self._runs = runs
        self._zones = zones
        self._after = after
        self._begun = False

    def advance(self, events: list[Event]) -> None:
        """Remove the zone's capacity and start the run, if that is due."""
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

    def waits_for(self) -> str:
        """Return nothing, because it waits for tasks only."""
        return ""


def tried(events: Sequence[Event], zones: Zones) -> list[Tried]:
    """Return the clusters of the job, in the order of their launches."""
    of_cluster = {session.job_flow_id: session for session in sessions(events)}
    return [
        Tried(
            session=of_cluster[launch.job_flow_id],
            zone=zones.of_subnet(str(launch.call["request"].get("Instances", {}).get("Ec2SubnetId"))),
            candidate=launch.tags.get(_CANDIDATE_TAG),
            token=launch.tags.get(TOKEN_TAG),
        )
        for launch in launches(events)
        if launch.dag_id == DAG
    ]


def lanes(found: Sequence[Tried], *, wanted_since: datetime) -> list[str]:
    """Draw a lane for each cluster, under the name of its zone and without the scale."""
    named = [replace(tried.session, owner=f"{DAG} in {tried.zone}") for tried in found]
    return chart(named, start=wanted_since, waiting_since={})[1:] if named else []
