"""The health of a primary node, as an operator asks for it between its other phases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import ClusterEndedError, InvalidInputError, WaitTimeoutError
from airflow_eip_provider.health.checks import DEFAULT_CHECKS, HttpCheck, checked_checks
from airflow_eip_provider.operators.phases import PhasedOperator, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.triggers.health import Until
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

# Two looks that confirm what a sensor has said are made in the worker: a deferral would take longer.
_CONFIRMING_SECONDS = 60.0
_CONFIRMING_DELAY_SECONDS = 10.0
_STARTING_SECONDS = 1800.0  # for how long after its launch a cluster may be starting; until then there is no verdict


def as_mappings(checks: Sequence[HttpCheck | Mapping[str, Any]] | Any) -> Any:
    """Return HTTP checks as mappings, in which templates are rendered; what is no list of them, as it is."""
    given = DEFAULT_CHECKS if checks is None else checks
    if isinstance(given, (list, tuple)):
        return [check.as_mapping() if isinstance(check, HttpCheck) else check for check in given]
    return given


class PrimaryHealthOperator(PhasedOperator):
    """The looks at the health of primary nodes, for operators that act on it."""

    checks: Any
    unhealthy_after: Any
    host: Any

    def judge_health(
        self, state: State, job_flow_id: str, *, until: Until, deadline: float, confirms: bool = False
    ) -> Verdict | WatchTrigger:
        """
        Return the verdict on a primary node, or the wait for it.

        :param until: what there has to be a verdict of.
        :param deadline: until when there may be one, in seconds since the epoch.
        :param confirms: a sensor has found the node unhealthy already, so one more failure is enough.
        """
        from airflow_eip_provider.triggers.health import (
            EmrPrimaryHealthTrigger,
            Known,
            PrimaryWatch,
            as_known,
            look_once,
        )
        from airflow_eip_provider.triggers.observed import Observed

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
        found = look_once(watch, Observed(self.aws.client_for), first=True)
        delay = _CONFIRMING_DELAY_SECONDS if confirms else float(self.waiter_delay)
        waits_until = min(deadline, now + _CONFIRMING_SECONDS) if confirms and self.deferrable else deadline
        while found.status == "pending" and (confirms or not self.deferrable) and clock.time() < waits_until:
            self.log.info("%s", found.message)
            self.kill.pause(delay)
            found = look_once(watch, Observed(self.aws.client_for), first=False)
        self.log.info("%s", found.message)
        if found.status != "pending" or not self.deferrable:
            return found
        shared = self.watch(state, deadline=deadline)
        return EmrPrimaryHealthTrigger(**parameters, known=as_known(watch), **shared)


def no_verdict(found: Verdict) -> Exception:
    """Return the error of a watch that could not come to the verdict that it was for."""
    facts = found.data
    if facts.get("gone") == "refused":
        return InvalidInputError(
            f"checking the health of cluster '{facts['job_flow_id']}'",
            problem=f"check '{facts['check']}' was not let in: {facts['problem']}",
            remedy="correct its auth_conn_id, or verify; this says nothing of the cluster's health",
        )
    if "gone" in facts:
        state, reason = facts.get("state", "unknown"), facts.get("reason", "EMR does not know it")
        return ClusterEndedError(facts["job_flow_id"], state=state, reason=reason)
    bound = "waiter_max_attempts or healthy_timeout"
    return WaitTimeoutError(f"a verdict on cluster '{facts['job_flow_id']}'", last_seen=found.message, bound=bound)
