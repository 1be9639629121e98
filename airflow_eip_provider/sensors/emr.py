"""Waiting until the primary node of a cluster is unhealthy, or healthy."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, AirflowFailException
from airflow_eip_provider.exceptions import ClusterEndedError, ElasticIpError, InvalidInputError, PermanentError
from airflow_eip_provider.health.checks import HttpCheck, as_mappings, checked_checks
from airflow_eip_provider.health.judgement import Threshold
from airflow_eip_provider.rendered import rendered
from airflow_eip_provider.sensors.watching import WatchingSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger, PrimaryWatch
    from airflow_eip_provider.triggers.verdict import Verdict

__all__ = ["EmrPrimaryHealthSensor", "HttpCheck"]

# With mode="reschedule" each poke begins anew, and asks AWS for three things.
_SHORTEST_RESCHEDULE_SECONDS = 60.0


class EmrPrimaryHealthSensor(WatchingSensor):
    """
    Wait until the primary node of a cluster is unhealthy, to start a failover, or until it is healthy.

    A round looks at EMR's state of the cluster or at EC2's status checks of the instance, in turn, and makes every HTTP
    check. At most three calls of AWS are made in a minute, however short ``waiter_delay`` is. An HTTP check that fails
    is made once more two seconds later, before it counts as a failure.

    The node is **unhealthy** when one check failed in N of its last M rounds (``unhealthy_after``), the last two among
    them; or when EMR says of the cluster, or EC2 of the instance, that it is ending or has ended, in two looks. There
    is no verdict while the cluster is STARTING or BOOTSTRAPPING, until ``start_timeout`` is over; for two minutes
    after it is ready, a failed HTTP check does not count. It is **healthy** when the cluster is RUNNING or WAITING,
    each HTTP check has passed, and no status check of EC2 has failed.

    Succeeds when it has what it waits for. Returns, and pushes as ``health``, {status, job_flow_id, instance_id, host,
    check, problem, at, ended, failures}: ``check``, ``problem`` and ``at`` (UTC) of the first check that failed, and in
    ``failures`` {check, problem, failures, rounds, since, at} of each. ``ended``: the cluster or its instance is gone
    for good.

    Fails, and does not report an unhealthy node, when the watch itself is wrong: EMR does not know the cluster; a check
    is answered with 401 or 403, or by a certificate that is not trusted. With until="healthy" it fails, too, when
    the cluster has ended. A node that this Airflow cannot reach looks like one that is down: let a task with
    until="healthy" come before the watch.

    IAM: elasticmapreduce:DescribeCluster, ec2:DescribeInstances, ec2:DescribeInstanceStatus;
    elasticmapreduce:ListInstances where EMR's tags on the instances cannot be seen. Where many wait in a triggerer,
    elasticmapreduce:ListClusters answers for all of them.

    :param job_flow_id: the cluster. (templated)
    :param until: "unhealthy" or "healthy".
    :param checks: the HTTP checks, as ``HttpCheck`` or as mappings of its fields; YARN on port 8088, HDFS on 9870 and
        Livy on 8998 unless given. A mapping with the name "yarn", "hdfs" or "livy" needs only what differs; an empty
        list makes none. (templated)
    :param unhealthy_after: "N/M": N failures of the last M rounds.
    :param healthy_after: "N/M": N successes of the last M rounds.
    :param host: where the checks are made: "private_ip", "private_dns" or "public_ip" of the primary node, or a name
        with {private_ip}, {private_dns}, {public_ip}, {instance_id} and {job_flow_id} in it. (templated)
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
        # As mappings, in which templates are rendered; a frozen check could not be changed.
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
        """Look once, then wait in the way that was chosen; the same result either way."""
        return self._push(context, super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Judge what the triggerer saw."""
        return self._push(context, super().execute_complete(context, event))

    @staticmethod
    def _push(context: Context, found: dict[str, Any]) -> dict[str, Any]:
        context["ti"].xcom_push(key="health", value=found)
        return found

    def poll(self) -> Verdict:
        """
        Make a round.

        With mode="reschedule", in which nothing is remembered from one poke to the next, it makes further ones as long
        as there is something to confirm.

        :raises AirflowFailException: for what no waiting can change.
        """
        try:
            return self._look()
        except PermanentError as error:
            raise AirflowFailException(str(error)) from error

    def _look(self) -> Verdict:
        from airflow_eip_provider.triggers.observed import Observed

        watch = self._watch = self._watch or self._new_watch()
        found = watch.poll(Observed(self.client_for))
        rounds = 2 * Threshold.parse(self.unhealthy_after, parameter="unhealthy_after").rounds
        while found.status == "pending" and self._is_alone and watch.is_suspicious and (rounds := rounds - 1):
            self.log.info("%s", found.message)
            clock.sleep(float(self.waiter_delay))
            found = watch.poll(Observed(self.client_for))
        return found

    @property
    def _is_alone(self) -> bool:
        return self.reschedule and not self.deferrable

    def _new_watch(self) -> PrimaryWatch:
        """
        Check every parameter, and return a watch that has seen nothing yet.

        :raises InvalidInputError: naming the parameter that is wrong.
        """
        from airflow_eip_provider.triggers.health import Known, PrimaryWatch, check_host

        job_flow_id = rendered(self.job_flow_id, name="job_flow_id", doing="watching the health of a cluster")
        if self.until not in {"unhealthy", "healthy"}:
            raise InvalidInputError(
                f"checking until {self.until!r}", problem="unknown choice", remedy="use 'unhealthy' or 'healthy'"
            )
        check_host(self.host)
        if not isinstance(self.start_timeout, timedelta) or self.start_timeout < timedelta(0):
            raise InvalidInputError(
                f"checking start_timeout {self.start_timeout!r}",
                problem="this is no timedelta of 0 or more",
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
        """What the watch in a worker and that in the triggerer share."""
        return {
            "job_flow_id": str(self.job_flow_id),
            "checks": [check.as_mapping() for check in checked_checks(self.checks)],
            "until": self.until,
            "unhealthy_after": self.unhealthy_after,
            "healthy_after": self.healthy_after,
            "host": self.host,
        }

    def trigger(self, *, waiter_delay: float, deadline: float) -> EmrPrimaryHealthTrigger:
        """Return the wait in the triggerer, which goes on with what the first look has found."""
        from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger

        watch = self._watch or self._new_watch()
        return EmrPrimaryHealthTrigger(
            **self._parameters,
            known=asdict(watch.known),
            **self.watch(waiter_delay=waiter_delay, deadline=deadline),
        )

    def error_of(self, data: dict[str, Any]) -> ElasticIpError:
        """Say why: there is no cluster to watch, or a check is not let in with these credentials."""
        if data["gone"] == "refused":
            return InvalidInputError(
                f"checking the health of cluster '{self.job_flow_id}'",
                problem=f"check '{data['check']}' was not let in: {data['problem']}",
                remedy="correct its auth_conn_id, or verify; this says nothing of the cluster's health",
            )
        if data["gone"] == "unknown":
            return ClusterEndedError(str(self.job_flow_id), state="unknown", reason="EMR does not know it")
        return ClusterEndedError(str(self.job_flow_id), state=data["state"], reason=data["reason"])
