"""A self-test: launch, bind, probe and end as a DAG does; then compare what AWS shows with what was promised."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_steps, read_tagged_clusters
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, until_answered
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, OWNER_DIGEST_TAG, TOKEN_TAG
from airflow_eip_provider.cli.output import note
from airflow_eip_provider.cli.selftest import measured, promises
from airflow_eip_provider.cli.selftest.plan import DROP_LIMIT
from airflow_eip_provider.cli.selftest.recorder import Recorder, recorded_hooks
from airflow_eip_provider.cli.selftest.report import Report
from airflow_eip_provider.cli.selftest.tasks import DAG_ID, Tasks
from airflow_eip_provider.cli.signals import StoppedOnce
from airflow_eip_provider.exceptions import PreflightError, StepFailedError, TransientError
from airflow_eip_provider.lease.description import holder_of
from airflow_eip_provider.lease.observation import LeaseCondition, condition_of
from airflow_eip_provider.operators.bindings import PrimaryNode
from airflow_eip_provider.operators.owner import own_environment
from airflow_eip_provider.preflight import Setup, examine
from airflow_eip_provider.triggers.observed import Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.cli.selftest.plan import Plan
    from airflow_eip_provider.cli.session import Session

_LOOK_SECONDS = 1.0  # between two looks at the address just after a change: how late its answers are is measured


class SelfTest:
    """One self-test of an account and a region."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._plan = plan
        self._began = clock.monotonic()
        self._recorder = Recorder(plan.allocation_id, self._say)
        self._hooks = recorded_hooks(session.hooks, self._recorder)
        run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._tasks = Tasks(plan, self._hooks, run_id)
        self._signals = StoppedOnce("ending the cluster and freeing the address")
        self.report = Report(session, plan, self._recorder)

    def perform(self) -> Report:
        """Do all of it; what it fails with is in the report, but never before everything was ended."""
        with self._signals:
            try:
                self._preflight()
                self._refuse_if_in_use()
            except BaseException as error:
                self.report.error = error
                return self.report
            try:
                try:
                    self._run()
                finally:
                    self._signals.is_shielded = True
            except BaseException as error:
                # Also a signal's that came just before the shield: only the first signal raises anything.
                self.report.error = error
                if not isinstance(error, (KeyboardInterrupt, SystemExit)):
                    note(f"failed, ending everything: {error}")
            try:
                self._end()
            except Exception as error:
                note(f"ending everything failed: {error}")
                self.report.error = self.report.error or error
            self.report.error = self.report.error or self._signals.stopped
        return self.report

    def _preflight(self) -> None:
        """
        Make the doctor's checks.

        :raises PreflightError: naming everything that is wrong.
        """
        setup = Setup(
            allocation_id=self._plan.allocation_id,
            eip=self._hooks.eip,
            emr=self._hooks.emr,
            job_flow=self._plan.job_flow,
            lock_store=self._plan.lock_store,
            store_client=self._hooks.client_for,
            environment=own_environment(),
        )
        binding = PrimaryNode()
        outcomes = list(examine(binding.examined(setup), binding.checks))
        self.report.preflight = [
            {
                "check": outcome.check.name,
                "skipped": outcome.skipped,
                "findings": [finding.facts() for finding in outcome.findings],
            }
            for outcome in outcomes
        ]
        findings = [finding for outcome in outcomes for finding in outcome.findings]
        for finding in findings:
            note(f"{finding.severity}: {finding}")
        errors = [str(finding) for finding in findings if finding.severity == "error"]
        promises.after_preflight(self.report, checks=len(outcomes), errors=len(errors))
        if errors:
            raise PreflightError(self._plan.allocation_id, errors)

    def _refuse_if_in_use(self) -> None:
        """
        Leave the address to whoever has it, or waits for it.

        :raises TransientError: naming them.
        """
        address = self._hooks.eip.get_address(self._plan.allocation_id)
        if address is not None:
            self.report.public_ip = address.public_ip
        if address is not None and not address.is_free:
            raise self._in_use(f"it is on {self._hooks.eip.get_holder(address).description}")
        if self._plan.lock_store is None:
            return
        self._hooks.lease_client(self._plan.lock_store, self._plan.allocation_id).check()
        observation = Observed(self._hooks.client_for).lease(self._plan.lock_store, self._plan.allocation_id)
        record = observation.snapshot.record
        if record.lease is not None and condition_of(observation) is not LeaseCondition.FINISHED:
            raise self._in_use(f"its lease is {holder_of(observation)}")
        if record.queue:
            raise self._in_use(f"'{record.queue[0].attempt.name}' is the first of {len(record.queue)} in its queue")

    def _in_use(self, problem: str) -> TransientError:
        free = f"airflow-eip wait --free --allocation-id {self._plan.allocation_id}"
        return TransientError(
            f"testing with Elastic IP '{self._plan.allocation_id}'",
            problem=f"{problem}; nothing was changed",
            remedy=f"test when it is free ({free}), or with an address of its own",
        )

    def _run(self) -> None:
        """Launch and bind, and run the probe."""
        self._tasks.create()
        associated = self._tasks.static_ip["association_id"]
        self._look_until(lambda: self._shown_association() == associated, seconds=READS_LAG_SECONDS)
        job_flow_id = str(self._tasks.job_flow_id)
        cluster = self._hooks.emr.get_cluster(job_flow_id)
        token = self._tasks.static_ip["token"]
        tags = {
            ALLOCATION_TAG: self._plan.allocation_id,
            OWNER_DIGEST_TAG: self._tasks.owner.digest,
            **({TOKEN_TAG: str(token)} if token is not None else {}),
        }
        promises.while_bound(
            self.report,
            cluster_tags=dict(cluster.tags) if cluster else {},
            wanted_tags=tags,
            lease=self._lease_client().read().record.lease,
            token=token,
        )
        try:
            (step_id,) = self._tasks.probe()
        except StepFailedError as failed:
            promises.of_the_probe(self.report, failed=failed, step_name=None)
            return
        (step,) = read_steps(self._hooks.emr.conn, job_flow_id, step_ids=[step_id])
        promises.of_the_probe(self.report, failed=None, step_name=step.name)

    def _end(self) -> None:
        """End the cluster and free the address, whatever happened; then look at what AWS shows."""
        job_flow_id = self._tasks.job_flow_id or self._recorder.job_flow_id
        try:
            if job_flow_id is not None:
                bound = self._tasks.static_ip.get("association_id")
                if self._plan.measure_drop and bound and self._signals.stopped is None:
                    self._watch_the_drop(job_flow_id)
                self._tasks.terminate(job_flow_id)
                self._look_until(lambda: self._shown_association() is None, seconds=READS_LAG_SECONDS)
        finally:
            self._look_at_what_is_left(job_flow_id)

    def _watch_the_drop(self, job_flow_id: str) -> None:
        """Let EC2 take the address off the terminated instance; its lease is still this test's."""
        self._hooks.emr.end(job_flow_id)

        def is_off() -> bool:
            if self._recorder.instance_id is not None:
                self._hooks.eip.get_instance(self._recorder.instance_id)
            return self._shown_association() is None

        self._look_until(is_off, seconds=DROP_LIMIT.total_seconds(), every=self._plan.poll_seconds)

    def _look_at_what_is_left(self, job_flow_id: str | None) -> None:
        """Check in AWS, and in the lock store, that everything has ended; a launch that was refused left nothing."""
        plan, report = self._plan, self.report
        address = self._patiently(lambda: self._hooks.eip.get_address(plan.allocation_id))
        cluster = self._patiently(lambda: self._hooks.emr.get_cluster(job_flow_id)) if job_flow_id else None
        record = self._patiently(lambda: self._lease_client().read().record)
        tags = {OWNER_DIGEST_TAG: self._tasks.owner.digest}
        since = clock.now() - timedelta(days=1)
        others = self._patiently(
            lambda: read_tagged_clusters(self._hooks.emr.conn, tags=tags, created_after=since.timestamp())
        )
        holder = self._patiently(lambda: self._hooks.eip.get_holder(address)) if address is not None else None
        if job_flow_id is not None and holder is not None and holder.job_flow_id == job_flow_id:
            release = f"airflow-eip release --allocation-id {plan.allocation_id} --job-flow-id {job_flow_id}"
            report.left.append(f"Elastic IP {plan.allocation_id} is still on the cluster's instance: {release}")
        for other in others:
            end = f"aws emr terminate-clusters --region {report.session.region} --cluster-ids {other.job_flow_id}"
            report.left.append(f"cluster {other.job_flow_id} is {other.state}: {end}")
        if record.lease is not None and record.lease.attempt.owner == self._tasks.owner.digest:
            release = f"airflow-eip release --allocation-id {plan.allocation_id} --job-flow-id {job_flow_id}"
            report.left.append(f"the lease is still that of '{self._tasks.owner}': {release}")
        if job_flow_id is None:
            return
        promises.after_the_end(
            report,
            address=address,
            cluster=cluster,
            others=others,
            record=record if plan.lock_store else None,
            owner=str(self._tasks.owner),
        )
        report.measurements = measured.measurements(report)
        response = self._patiently(lambda: self._hooks.emr.conn.list_instances(ClusterId=job_flow_id))
        report.cost = measured.cost(response["Instances"], cluster)

    def _patiently(self, look: Callable[[], Any]) -> Any:
        """Look again while AWS gives no answer."""
        return until_answered(look, every=self._plan.poll_seconds)

    def _shown_association(self) -> str | None:
        address = self._patiently(lambda: self._hooks.eip.get_address(self._plan.allocation_id))
        return address.association_id if address is not None else None

    @staticmethod
    def _look_until(is_so: Callable[[], bool], *, seconds: float, every: float = _LOOK_SECONDS) -> None:
        deadline = clock.time() + seconds
        while not is_so() and clock.time() < deadline:
            clock.sleep(every)

    def _lease_client(self) -> Any:
        return self._hooks.lease_client(self._plan.lock_store, self._plan.allocation_id, who=DAG_ID)

    def _say(self, text: str) -> None:
        note(f"{clock.monotonic() - self._began:6.0f} s  {text}")
