"""Waiting until the primary node of a cluster is unhealthy, or healthy."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.resource_ids import check_job_flow_id
from airflow_eip_provider.exceptions import ClusterEndedError, ElasticIpError, InvalidInputError
from airflow_eip_provider.health.checks import HttpCheck, as_mappings, checked_checks
from airflow_eip_provider.health.judgement import Threshold
from airflow_eip_provider.rendered import check_choice, check_flags, rendered
from airflow_eip_provider.sensors.watching import WatchingSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger, PrimaryWatch
    from airflow_eip_provider.triggers.verdict import Verdict

__all__ = ["EmrPrimaryHealthSensor", "HttpCheck"]

# With mode="reschedule" each poke starts without state, and makes three AWS calls.
_SHORTEST_RESCHEDULE_SECONDS = 60.0


class EmrPrimaryHealthSensor(WatchingSensor):
    """
    Wait until the primary node of a cluster is unhealthy, to start a failover, or until it is healthy.

    Each round reads either EMR's state of the cluster or EC2's status checks of the instance, in turn, and runs every
    HTTP check. There are at most three AWS calls per minute, however short ``waiter_delay`` is. A failed HTTP check is
    repeated two seconds later before it counts as a failure.

    The node is **unhealthy** when one check failed in N of its last M rounds (``unhealthy_after``), including the last
    two; or when two reads show the cluster in EMR, or the instance in EC2, as ending or ended. There is no verdict
    while the cluster is STARTING or BOOTSTRAPPING, until ``start_timeout`` is over; for two minutes after it is ready,
    failed HTTP checks do not count. The node is **healthy** when the cluster is RUNNING or WAITING, each HTTP check has
    passed, and no status check of EC2 has failed.

    Succeeds when the node is in the state that it waits for. Returns, and pushes as ``health``, {status, job_flow_id,
    instance_id, host, check, problem, at, ended, failures}: ``check``, ``problem`` and ``at`` (UTC) of the first check
    that failed, and in ``failures`` {check, problem, failures, rounds, since, at} of each. ``ended``: the cluster or
    its instance has ended.

    Fails, and does not report an unhealthy node, when the watch itself does not work: EMR does not know the cluster, a
    check is answered with 401 or 403, or a certificate is not trusted. With until="healthy" it also fails when the
    cluster has ended. A node that this Airflow cannot reach looks like one that is down: run a task with
    until="healthy" before the watch.

    IAM: elasticmapreduce:DescribeCluster, ec2:DescribeInstances, ec2:DescribeInstanceStatus;
    elasticmapreduce:ListInstances where EMR's tags on the instances cannot be seen. Where many wait in a triggerer,
    elasticmapreduce:ListClusters answers for all of them.

    :param job_flow_id: the cluster. (templated)
    :param until: "unhealthy" or "healthy".
    :param checks: the HTTP checks, as ``HttpCheck`` or as mappings of its fields; YARN on port 8088, HDFS on 9870 and
        Livy on 8998 by default. A mapping with the name "yarn", "hdfs" or "livy" needs only what differs; an empty list
        for no checks. (templated)
    :param unhealthy_after: "N/M": N failures of the last M rounds.
    :param healthy_after: "N/M": N successes of the last M rounds.
    :param host: the host of the checks: "private_ip", "private_dns" or "public_ip" of the primary node, or a name that
        contains {private_ip}, {private_dns}, {public_ip}, {instance_id} or {job_flow_id}. (templated)
    :param start_timeout: for how long after its launch the cluster may be starting.
    :param waiter_delay: seconds between two rounds; at least 10 when deferred, 60 with mode="reschedule".
    :param deferrable: wait in the triggerer.
    """

    no_answer = "AWS gave no answer this time: %s"
    template_fields: Sequence[str] = aws_template_fields("checks", "host", "job_flow_id")

    def __init__(
        self,
        *,
        job_flow_id: str,
        until: Literal["unhealthy", "healthy"] = "unhealthy",
        checks: Sequence[HttpCheck | Mapping[str, Any]] | None = None,
        unhealthy_after: str = "3/5",
        healthy_after: str = "1/1",
        host: str = "private_ip",
        start_timeout: timedelta = timedelta(minutes=30),
        waiter_delay: float = 20,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"poke_interval": waiter_delay, **kwargs})
        self.job_flow_id = job_flow_id
        self.until = until
        # As mappings, because Airflow does not render templates in a frozen dataclass.
        self.checks = as_mappings(checks)
        self.unhealthy_after = unhealthy_after
        self.healthy_after = healthy_after
        self.host = host
        self.start_timeout = start_timeout
        self.waiter_delay = waiter_delay
        self.deferrable = deferrable
        if self.reschedule and not deferrable:
            self.poke_interval = max(float(self.poke_interval), _SHORTEST_RESCHEDULE_SECONDS)
        self._watch: PrimaryWatch | None = None

    def execute(self, context: Context) -> Any:
        """Poll once, then wait in the worker or in the triggerer; the result is the same."""
        return self._push(context, super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Judge the event of the trigger."""
        return self._push(context, super().execute_complete(context, event))

    @staticmethod
    def _push(context: Context, health: dict[str, Any]) -> dict[str, Any]:
        context["ti"].xcom_push(key="health", value=health)
        return health

    def poll(self) -> Verdict:
        """
        Run one round.

        With mode="reschedule", which keeps nothing between pokes, run further rounds until a failure is confirmed.
        """
        from airflow_eip_provider.triggers.observed import Observed

        watch = self._watch = self._watch or self._new_watch()
        verdict = watch.poll(Observed(self.aws.client_for))
        rounds = 2 * Threshold.parse(self.unhealthy_after, parameter="unhealthy_after").rounds
        is_rescheduled = self.reschedule and not self.deferrable
        while verdict.status == "pending" and is_rescheduled and watch.is_suspicious and (rounds := rounds - 1):
            self.log.info("%s", verdict.message)
            clock.sleep(float(self.waiter_delay))
            verdict = watch.poll(Observed(self.aws.client_for))
        return verdict

    def _new_watch(self) -> PrimaryWatch:
        """Check all parameters, and return a new watch."""
        from airflow_eip_provider.triggers.health import Known, PrimaryWatch, check_host

        job_flow_id = rendered(self.job_flow_id, name="job_flow_id", doing="watching the health of a cluster")
        check_job_flow_id(self.job_flow_id)
        check_flags(self, "deferrable")
        check_choice("until", self.until, ("unhealthy", "healthy"))
        check_host(self.host)
        if not isinstance(self.start_timeout, timedelta) or self.start_timeout < timedelta(0):
            raise InvalidInputError(
                f"checking start_timeout {self.start_timeout!r}",
                problem="this is not a timedelta of 0 or more",
                remedy="write start_timeout=timedelta(minutes=30)",
            )
        now = clock.time()
        return PrimaryWatch(
            **{**self._parameters, "job_flow_id": job_flow_id},
            known=Known(since=now, start_by=now + self.start_timeout.total_seconds()),
            start_seconds=self.start_timeout.total_seconds(),
        )

    @property
    def _parameters(self) -> dict[str, Any]:
        """The parameters that the watch in a worker and the trigger share."""
        return {
            "job_flow_id": str(self.job_flow_id),
            "checks": [check.as_mapping() for check in checked_checks(self.checks)],
            "until": self.until,
            "unhealthy_after": self.unhealthy_after,
            "healthy_after": self.healthy_after,
            "host": self.host,
        }

    def trigger(self, *, waiter_delay: float, deadline: float) -> EmrPrimaryHealthTrigger:
        """Return the trigger of the wait, which continues with what the first poll has read."""
        from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger

        watch = self._watch or self._new_watch()
        return EmrPrimaryHealthTrigger(
            **self._parameters,
            known=asdict(watch.known),
            **self.watch(waiter_delay=waiter_delay, deadline=deadline),
        )

    def error_of(self, data: dict[str, Any]) -> ElasticIpError:
        """Return the error: there is no cluster to watch, or a check was refused."""
        if data["gone"] == "refused":
            return InvalidInputError(
                f"checking the health of cluster '{self.job_flow_id}'",
                problem=f"check '{data['check']}' was refused (401, 403 or certificate), or cannot be made: "
                f"{data['problem']}",
                remedy="correct its auth_conn_id, its verify, or host; the health of the cluster is unknown",
            )
        if data["gone"] == "unknown":
            return ClusterEndedError(str(self.job_flow_id), state="unknown", reason="EMR does not know it")
        return ClusterEndedError(str(self.job_flow_id), state=data["state"], reason=data["reason"])
