"""A drill: the checks once more, the stop, the recovery as it is seen, and what runs then."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import had_no_effect, is_transient
from airflow_eip_provider.aws.lag import until_answered
from airflow_eip_provider.cli.drill.address import foreign_owner
from airflow_eip_provider.cli.drill.plan import BY_HAND, CLUSTER
from airflow_eip_provider.cli.drill.recovery import BOUND, DETECTED, MEANING, SERVICES, TARGETS, Recovery
from airflow_eip_provider.cli.drill.report import Report
from airflow_eip_provider.cli.drill.scene import Scene
from airflow_eip_provider.cli.output import note, progress
from airflow_eip_provider.cli.signals import StoppedOnce
from airflow_eip_provider.exceptions import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.preflight import Outcome


class Drill:
    """
    One drill of an account and a region.

    :param outcomes: what the checks have found; none of it is an error.
    """

    def __init__(self, session: Session, plan: Plan, scene: Scene, outcomes: Sequence[Outcome]) -> None:
        self._session, self._plan, self._scene = session, plan, scene
        self._signals = StoppedOnce("no longer watching; what runs is said at the end")
        failed = {finding.what for outcome in outcomes for finding in _of(outcome, "primary-services")}
        # What this machine cannot reach now, it cannot measure later either.
        self._asks_services = bool(plan.services) and not failed
        self.report = Report(session, plan, outcomes)

    def perform(self) -> Report:
        """Do all of it; what it fails with is in the report, with what runs then."""
        with self._signals:
            try:
                self._refuse_if_in_use()
                self._stop()
                if self._plan.fails_over:
                    self._fail_over()
                self._watch()
            except BaseException as error:
                self.report.error = error
                if self.report.recovery is None:
                    return self.report
            finally:
                self._signals.is_shielded = True
            try:
                self._look_at_what_runs()
            except Exception as error:
                note(f"looking at what runs failed: {error}")
                self.report.left.append(
                    f"it is not known what runs: airflow-eip status, aws emr list-clusters ({error})"
                )
            self.report.error = self.report.error or self._signals.stopped
        return self.report

    def _refuse_if_in_use(self) -> None:
        """
        Look again at the address just before the stop: the checks, and whoever was asked, took their time.

        :raises TransientError: naming who has it; nothing was changed.
        """
        if self._plan.allocation_id is None:
            return
        self._scene = Scene(self._session, self._plan)
        if foreign := foreign_owner(self._scene):
            raise TransientError(
                f"stopping the primary '{self._plan.job_flow_id}' for a drill",
                problem=f"Elastic IP '{self._plan.allocation_id}' is not the primary's: {foreign}; nothing was changed",
                remedy="hold the drill when the address is the primary's again",
            )

    def _stop(self) -> None:
        """Stop the primary; from then on time counts."""
        plan, instance = self._plan, self._scene.primary_instance
        recovery = Recovery(self._scene, clock.time(), self._asks_services, self._say)
        if plan.stop == BY_HAND:
            self.report.recovery = recovery
            recovery.note(recovery.began, f"stop {plan.job_flow_id} now, or break one of its services: time counts")
            return
        # A request whose answer is lost may have had its effect; then it is said what runs.
        self.report.recovery = recovery
        try:
            if plan.stop == CLUSTER:
                self._scene.hooks.emr.end(plan.job_flow_id)
                what = f"cluster {plan.job_flow_id}"
            else:
                what = f"primary instance {instance.instance_id if instance else None}"
                self._scene.ec2.terminate_instances(InstanceIds=[str(instance and instance.instance_id)])
        except Exception as error:
            if had_no_effect(error):
                self.report.recovery = None
            raise
        recovery.note(clock.time(), f"stopped: {what} was told to terminate")

    def _fail_over(self) -> None:
        """
        Detect and move, as the DAG does; what the operator measures counts.

        :raises TransientError: when the primary works again, and nothing is moved.
        """
        from airflow_eip_provider.cli.drill.failover import Failover

        recovery, failover = self._recovery, Failover(self._plan, self._scene.hooks)
        progress("watching the primary's health")
        health = failover.detect()
        recovery.reach(DETECTED, clock.time(), f"{health['check']}: {health['problem']}")
        progress("failing over")
        found = failover.move(health)
        if not found["moved"]:
            raise TransientError(
                f"moving the service of cluster '{self._plan.job_flow_id}'",
                problem=f"nothing was moved: {found['why']}",
                remedy="look which cluster has the service now",
            )
        recovery.successor = str(found["to"])
        for name, time_of in ((BOUND, "bound"), (TARGETS, "healthy"), (SERVICES, "healthy")):
            if name in recovery.wanted:
                at = datetime.fromisoformat(found["times"][time_of]).timestamp()
                recovery.reach(name, at, f"EmrFailoverOperator, cluster {found['to']}")

    def _watch(self) -> None:
        """Look until the service has recovered, or the time for that is over."""
        recovery = self._recovery
        deadline = recovery.began + self._plan.limit.total_seconds()
        while True:
            try:
                recovery.look(clock.time())
            except Exception as error:
                if not is_transient(error):
                    raise
                note(f"AWS gave no answer, looking again: {error}")
            if recovery.recovered_at is not None:
                recovery.note(recovery.recovered_at, "recovered")
                return
            left = deadline - clock.time()
            if left <= 0:
                missing = ", ".join(MEANING[name] for name in recovery.missing)
                recovery.note(clock.time(), f"given up: not seen that {missing}")
                return
            progress(f"waiting until {MEANING[recovery.missing[0]]}")
            clock.sleep(min(self._plan.poll_seconds, left))

    @property
    def _recovery(self) -> Recovery:
        if self.report.recovery is None:
            raise RuntimeError("nothing was stopped")
        return self.report.recovery

    def _look_at_what_runs(self) -> None:
        """Say of each cluster whether it runs, what it is now, and how to end it."""
        recovery, region = self._recovery, self._session.region
        has_moved = recovery.recovered_at is not None
        names = {self._plan.job_flow_id: "the primary that was stopped"}
        known = [recovery.successor, self._plan.standby_id, *self._patiently(lambda: recovery.launched(clock.time()))]
        for job_flow_id in filter(None, known):
            is_now = has_moved and job_flow_id == recovery.successor
            names[job_flow_id] = "the primary now" if is_now else "a standby, which has not taken over"
        for job_flow_id, role in names.items():
            cluster = self._patiently(functools.partial(self._scene.hooks.emr.get_cluster, job_flow_id))
            if cluster is not None and not cluster.is_ending:
                end = f"aws emr terminate-clusters --region {region} --cluster-ids {job_flow_id}"
                self.report.left.append(f"cluster {job_flow_id} is {cluster.state}: {role}; to end it: {end}")
        if self._plan.allocation_id is not None:
            where = self._patiently(functools.partial(self._place, self._plan.allocation_id))
            self.report.left.append(f"Elastic IP {self._plan.allocation_id} is {where}")
        if has_moved:
            self.report.left.append(f"there is no standby for {recovery.successor} now, unless something launched one")

    def _place(self, allocation_id: str) -> str:
        address = self._scene.hooks.eip.get_address(allocation_id)
        if address is None or address.is_free:
            return "free"
        return f"on {self._scene.hooks.eip.get_holder(address).description}"

    def _patiently(self, look: Callable[[], Any]) -> Any:
        """Look again while AWS gives no answer."""
        return until_answered(look, every=self._plan.poll_seconds)

    def _say(self, at: float, text: str) -> None:
        began = self.report.recovery.began if self.report.recovery else at
        note(f"{at - began:6.0f} s  {text}")


def _of(outcome: Outcome, name: str) -> Sequence[Any]:
    return outcome.findings if outcome.check.name == name else ()
