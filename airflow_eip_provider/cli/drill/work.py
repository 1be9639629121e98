"""Carrying out a drill: repeat the check of the address, stop the primary, watch the recovery, report what runs."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import had_no_effect, is_transient
from airflow_eip_provider.aws.lag import until_answered
from airflow_eip_provider.cli.drill.plan import BY_HAND, CLUSTER
from airflow_eip_provider.cli.drill.recovery import BOUND, DETECTED, MEANING, SERVICES, TARGETS, Recovery
from airflow_eip_provider.cli.drill.report import Report
from airflow_eip_provider.cli.drill.resources import Resources
from airflow_eip_provider.cli.output import note, progress
from airflow_eip_provider.cli.scenario import terminate_command
from airflow_eip_provider.cli.signals import StoppedOnce
from airflow_eip_provider.exceptions import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.preflight import Outcome


class Drill:
    """
    One drill in an account and a region.

    :param outcomes: the results of the checks; none is an error.
    """

    def __init__(self, session: Session, plan: Plan, resources: Resources, outcomes: Sequence[Outcome]) -> None:
        self._session, self._plan, self._resources = session, plan, resources
        self._signals = StoppedOnce("no longer watching; the drill reports what runs and ends")
        unreachable = any(outcome.findings for outcome in outcomes if outcome.check.name == "primary-services")
        # A service that this machine cannot reach now cannot be measured later either.
        self._checks_services = bool(plan.http_checks) and not unreachable
        self.report = Report(session, plan, outcomes)

    def perform(self) -> Report:
        """Carry out the drill; the report has its error, if any, and what runs at the end."""
        with self._signals:
            try:
                self._refuse_if_in_use()
                self._stop()
                if self._plan.fail_over:
                    self._fail_over()
                self._watch()
            except BaseException as error:
                self.report.error = error
                if self.report.recovery is None:
                    return self.report
            finally:
                self._signals.is_shielded = True
            try:
                self._report_what_runs()
            except Exception as error:
                note(f"reading what runs failed: {error}")
                self.report.left.append(
                    f"it is not known what runs: airflow-eip status, aws emr list-clusters ({error})"
                )
            self.report.error = self.report.error or self._signals.stopped
        return self.report

    def _refuse_if_in_use(self) -> None:
        """
        Read the address again just before the stop, as time has passed since the checks.

        :raises TransientError: when another owner has the address; nothing was changed.
        """
        if self._plan.allocation_id is None:
            return
        self._resources = Resources(self._session, self._plan)
        if foreign := self._resources.foreign_use():
            raise TransientError(
                f"stopping the primary '{self._plan.job_flow_id}' for a drill",
                problem=f"Elastic IP '{self._plan.allocation_id}' is not the primary's: {foreign}; nothing was changed",
                remedy="run the drill when the primary has the address again",
            )

    def _stop(self) -> None:
        """Stop the primary; the time of the recovery starts here."""
        plan, instance = self._plan, self._resources.primary_instance
        recovery = Recovery(self._resources, clock.time(), self._checks_services, self._say)
        # It is set before the request: one whose answer is lost may have had an effect, so what runs is reported.
        self.report.recovery = recovery
        if plan.stop == BY_HAND:
            recovery.note(recovery.began, f"stop {plan.job_flow_id} now, or break one of its services: time counts")
            return
        try:
            if plan.stop == CLUSTER:
                self._resources.hooks.emr.end(plan.job_flow_id)
                stopped = f"cluster {plan.job_flow_id}"
            else:
                instance_id = str(instance and instance.instance_id)
                self._resources.ec2.terminate_instances(InstanceIds=[instance_id])
                stopped = f"primary instance {instance_id}"
        except Exception as error:
            if had_no_effect(error):
                self.report.recovery = None
            raise
        recovery.note(clock.time(), f"stopped: {stopped} was told to terminate")

    def _fail_over(self) -> None:
        """
        Detect the failure and move the service, as the DAG does; the operator's times count.

        :raises TransientError: when the primary works again, so that nothing is moved.
        """
        from airflow_eip_provider.cli.drill.failover import detect_failure, fail_over

        recovery, hooks = self._recovery, self._resources.hooks
        progress("watching the primary's health")
        health = detect_failure(self._plan, hooks)
        recovery.reach(DETECTED, clock.time(), f"{health['check']}: {health['problem']}")
        progress("failing over")
        result = fail_over(self._plan, hooks, health=health, signals=self._signals)
        if not result["moved"]:
            raise TransientError(
                f"moving the service of cluster '{self._plan.job_flow_id}'",
                problem=f"nothing was moved: {result['why']}",
                remedy="check which cluster has the service now",
            )
        recovery.successor = str(result["to"])
        for name, time_of in ((BOUND, "bound"), (TARGETS, "healthy"), (SERVICES, "healthy")):
            if name in recovery.milestones:
                at = datetime.fromisoformat(result["times"][time_of]).timestamp()
                recovery.reach(name, at, f"EmrFailoverOperator, cluster {result['to']}")

    def _watch(self) -> None:
        """Poll until the service has recovered, or the limit is reached."""
        recovery = self._recovery
        deadline = recovery.began + self._plan.limit_seconds
        while True:
            try:
                recovery.poll(clock.time())
            except Exception as error:
                if not is_transient(error):
                    raise
                note(f"AWS did not answer, trying again: {error}")
            if recovery.recovered_at is not None:
                recovery.note(recovery.recovered_at, "recovered")
                return
            remaining = deadline - clock.time()
            if remaining <= 0:
                missing = ", ".join(MEANING[name] for name in recovery.missing)
                recovery.note(clock.time(), f"given up: not seen that {missing}")
                return
            progress(f"waiting until {MEANING[recovery.missing[0]]}")
            clock.sleep(min(self._plan.poll_seconds, remaining))

    @property
    def _recovery(self) -> Recovery:
        if self.report.recovery is None:
            raise RuntimeError("nothing was stopped")
        return self.report.recovery

    def _report_what_runs(self) -> None:
        """Report each running cluster, its role and how to terminate it, and where the address is."""
        plan, recovery, hooks = self._plan, self._recovery, self._resources.hooks
        has_moved = recovery.recovered_at is not None
        new = self._until_answered(lambda: recovery.new_clusters(clock.time()))
        roles = {plan.job_flow_id: "the primary that was stopped"}
        for job_flow_id in filter(None, [recovery.successor, plan.standby_job_flow_id, *new]):
            is_primary = has_moved and job_flow_id == recovery.successor
            roles[job_flow_id] = "the primary now" if is_primary else "a standby, which has not taken over"
        left = self.report.left
        for job_flow_id, role in roles.items():
            cluster = self._until_answered(functools.partial(hooks.emr.get_cluster, job_flow_id))
            if cluster is not None and not cluster.is_ending:
                command = terminate_command(job_flow_id, region=self._session.region)
                left.append(f"cluster {job_flow_id} is {cluster.state}: {role}; to terminate it: {command}")
        if plan.allocation_id is not None:
            place = self._until_answered(functools.partial(self._describe_place, plan.allocation_id))
            left.append(f"Elastic IP {plan.allocation_id} is {place}")
        if has_moved:
            left.append(f"there is no standby for {recovery.successor} now, unless something has launched one")

    def _describe_place(self, allocation_id: str) -> str:
        eip = self._resources.hooks.eip
        address = eip.get_address(allocation_id)
        return "free" if address is None or address.is_free else f"on {eip.get_holder(address).description}"

    def _until_answered(self, read: Callable[[], Any]) -> Any:
        return until_answered(read, every=self._plan.poll_seconds)

    def _say(self, at: float, text: str) -> None:
        began = self.report.recovery.began if self.report.recovery else at
        note(f"{at - began:6.0f} s  {text}")
