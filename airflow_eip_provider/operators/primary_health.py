"""The health of a primary node, for operators that act on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import ClusterEndedError, InvalidInputError, WaitTimeoutError
from airflow_eip_provider.health.checks import checked_checks
from airflow_eip_provider.operators.phases import PhasedOperator, State

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.health import Until
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

# A sensor's result is confirmed in the worker, with a few polls: a deferral would take longer.
_CONFIRMING_SECONDS = 60.0
_CONFIRMING_DELAY_SECONDS = 10.0
_STARTING_SECONDS = 1800.0  # a cluster may be starting for this long after its launch; there is no verdict until then


class PrimaryHealthOperator(PhasedOperator):
    """Checks the health of primary nodes."""

    checks: Any
    unhealthy_after: Any
    host: Any

    def judge_health(
        self, state: State, job_flow_id: str, *, until: Until, deadline: float, confirms: bool = False
    ) -> Verdict | WatchTrigger:
        """
        Return the verdict on a primary node, or the wait for it.

        :param until: the verdict to wait for.
        :param deadline: the end of the wait, in seconds since the epoch.
        :param confirms: a sensor has found the node unhealthy already, so one more failure is enough.
        """
        from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger, Known, PrimaryWatch

        now = clock.time()
        parameters = {
            "job_flow_id": job_flow_id,
            "checks": [check.as_mapping() for check in checked_checks(self.checks)],
            "until": until,
            "unhealthy_after": "1/1" if confirms else self.unhealthy_after,
            "healthy_after": "1/1",
            "host": self.host,
        }
        known = Known(since=now, start_by=now + _STARTING_SECONDS)
        watch = PrimaryWatch(**parameters, known=known, start_seconds=_STARTING_SECONDS)
        verdict = watch.poll(self.observe())
        delay = _CONFIRMING_DELAY_SECONDS if confirms else float(self.waiter_delay)
        block_until = min(deadline, now + _CONFIRMING_SECONDS) if confirms and self.deferrable else deadline
        while verdict.status == "pending" and (confirms or not self.deferrable) and clock.time() < block_until:
            self.log.info("%s", verdict.message)
            self.kill.pause(delay)
            verdict = watch.poll(self.observe())
        self.log.info("%s", verdict.message)
        if verdict.status != "pending" or not self.deferrable:
            return verdict
        return EmrPrimaryHealthTrigger(**parameters, known=asdict(known), **self.watch(state, deadline=deadline))


def health_error(verdict: Verdict) -> Exception:
    """Return the error of a wait that ended without the verdict that it was for."""
    facts = verdict.data
    if facts.get("gone") == "refused":
        return InvalidInputError(
            f"checking the health of cluster '{facts['job_flow_id']}'",
            problem=f"check '{facts['check']}' was refused, or cannot be made: {facts['problem']}",
            remedy="correct its auth_conn_id, its verify, or host; the health of the cluster is unknown",
        )
    if "gone" in facts:
        state, reason = facts.get("state", "unknown"), facts.get("reason", "EMR does not know it")
        return ClusterEndedError(facts["job_flow_id"], state=state, reason=reason)
    bound = "waiter_max_attempts or healthy_timeout"
    return WaitTimeoutError(f"a verdict on cluster '{facts['job_flow_id']}'", last_seen=verdict.message, bound=bound)
