"""Carrying out a self-test: the tasks of a DAG, then a comparison of AWS's answers with the promises of the README."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.clusters import read_steps, read_tagged_clusters
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, until_answered
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, OWNER_DIGEST_TAG, TOKEN_TAG
from airflow_eip_provider.cli.output import note
from airflow_eip_provider.cli.scenario import first_in_queue, other_lease, terminate_command
from airflow_eip_provider.cli.selftest import measured, promises
from airflow_eip_provider.cli.selftest.plan import DROP_LIMIT
from airflow_eip_provider.cli.selftest.recorder import Recorder, recorded_hooks
from airflow_eip_provider.cli.selftest.report import Report
from airflow_eip_provider.cli.selftest.tasks import DAG_ID, Tasks
from airflow_eip_provider.cli.signals import StoppedOnce
from airflow_eip_provider.exceptions import PreflightError, StepFailedError, TransientError
from airflow_eip_provider.operators.bindings import PrimaryNode
from airflow_eip_provider.operators.owner import own_environment
from airflow_eip_provider.preflight import Setup, examine
from airflow_eip_provider.triggers.observed import Observed

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.cli.selftest.plan import Plan
    from airflow_eip_provider.cli.session import Session

_POLL_SECONDS = 1.0  # just after a change of the address: the test measures how late AWS shows it


class SelfTest:
    """One self-test in an account and a region."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self._plan = plan
        self._began = clock.monotonic()
        self._recorder = Recorder(plan.allocation_id, self._say)
        self._hooks = recorded_hooks(session.hooks, self._recorder)
        self._signals = StoppedOnce("ending the cluster and freeing the address")
        self._tasks = Tasks(plan, self._hooks, signals=self._signals)
        self.report = Report(session, plan, self._recorder)

    def perform(self) -> Report:
        """Carry out the test and always clean up; the report has the error, if any."""
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
                # This includes a signal just before the shield was set: only the first signal raises an exception.
                self.report.error = error
                if not isinstance(error, (KeyboardInterrupt, SystemExit)):
                    note(f"failed, cleaning up: {error}")
            try:
                self._clean_up()
            except Exception as error:
                note(f"cleaning up failed: {error}")
                self.report.error = self.report.error or error
            self.report.error = self.report.error or self._signals.stopped
        return self.report

    def _preflight(self) -> None:
        """
        Run the doctor's checks.

        :raises PreflightError: with every error that they find.
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
        promises.check_preflight(self.report, checks=len(outcomes), errors=len(errors))
        if errors:
            raise PreflightError(self._plan.allocation_id, errors)

    def _refuse_if_in_use(self) -> None:
        """
        Refuse while something has the address, or an owner has its lease or waits for it.

        :raises TransientError: with what uses the address; nothing was changed.
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
        if problem := other_lease(observation) or first_in_queue(observation.snapshot.record):
            raise self._in_use(problem)

    def _in_use(self, problem: str) -> TransientError:
        free = f"airflow-eip wait --free --allocation-id {self._plan.allocation_id}"
        return TransientError(
            f"testing with Elastic IP '{self._plan.allocation_id}'",
            problem=f"{problem}; nothing was changed",
            remedy=f"run the test when it is free ({free}), or with another address",
        )

    def _run(self) -> None:
        """Launch the cluster, associate the address, and run the probe."""
        self._tasks.create()
        associated = self._tasks.static_ip["association_id"]
        self._poll_until(lambda: self._shown_association() == associated, seconds=READS_LAG_SECONDS)
        job_flow_id = str(self._tasks.job_flow_id)
        cluster = self._hooks.emr.get_cluster(job_flow_id)
        token = self._tasks.static_ip["token"]
        tags = {
            ALLOCATION_TAG: self._plan.allocation_id,
            OWNER_DIGEST_TAG: self._tasks.owner.digest,
            **({TOKEN_TAG: str(token)} if token is not None else {}),
        }
        promises.check_bound_cluster(
            self.report,
            cluster_tags=dict(cluster.tags) if cluster else {},
            wanted_tags=tags,
            lease=self._lease_client().read().record.lease,
            token=token,
        )
        try:
            (step_id,) = self._tasks.probe()
        except StepFailedError as failed:
            promises.check_probe(self.report, failed=failed, step_name=None)
            return
        (step,) = read_steps(self._hooks.emr.conn, job_flow_id, step_ids=[step_id])
        promises.check_probe(self.report, failed=None, step_name=step.name)

    def _clean_up(self) -> None:
        """Terminate the cluster and free the address, whatever happened; then check what AWS shows."""
        job_flow_id = self._tasks.job_flow_id or self._recorder.job_flow_id
        try:
            if job_flow_id is not None:
                is_bound = self._tasks.static_ip.get("association_id")
                if self._plan.measure_drop and is_bound and self._signals.stopped is None:
                    self._measure_drop(job_flow_id)
                self._tasks.terminate(job_flow_id)
                self._poll_until(lambda: self._shown_association() is None, seconds=READS_LAG_SECONDS)
        finally:
            self._check_result(job_flow_id)

    def _measure_drop(self, job_flow_id: str) -> None:
        """Let EC2 remove the address from the terminated instance; the test still has the lease."""
        self._hooks.emr.end(job_flow_id)

        def is_removed() -> bool:
            if self._recorder.instance_id is not None:
                self._hooks.eip.get_instance(self._recorder.instance_id)
            return self._shown_association() is None

        self._poll_until(is_removed, seconds=DROP_LIMIT.total_seconds(), every=self._plan.poll_seconds)

    def _check_result(self, job_flow_id: str | None) -> None:
        """
        Check in AWS and in the lock store that nothing is left, and the promises.

        :param job_flow_id: ``None`` when no cluster was launched, so that only leftovers are checked.
        """
        plan, report, owner = self._plan, self.report, self._tasks.owner
        eip, emr = self._hooks.eip, self._hooks.emr
        address = self._until_answered(lambda: eip.get_address(plan.allocation_id))
        cluster = self._until_answered(lambda: emr.get_cluster(job_flow_id)) if job_flow_id else None
        record = self._until_answered(lambda: self._lease_client().read().record)
        tags = {OWNER_DIGEST_TAG: owner.digest}
        since = (clock.now() - timedelta(days=1)).timestamp()
        others = self._until_answered(lambda: read_tagged_clusters(emr.conn, tags=tags, created_after=since))
        holder = self._until_answered(lambda: eip.get_holder(address)) if address is not None else None
        release = f"airflow-eip release --allocation-id {plan.allocation_id} --job-flow-id {job_flow_id}"
        if job_flow_id is not None and holder is not None and holder.job_flow_id == job_flow_id:
            report.left.append(f"Elastic IP {plan.allocation_id} is still on the cluster's instance: {release}")
        for other in others:
            command = terminate_command(other.job_flow_id, region=report.session.region)
            report.left.append(f"cluster {other.job_flow_id} is {other.state}: {command}")
        if record.lease is not None and record.lease.attempt.owner == owner.digest:
            report.left.append(f"'{owner}' still has the lease: {release}")
        if job_flow_id is None:
            return
        promises.check_end(
            report,
            address=address,
            cluster=cluster,
            others=others,
            record=record if plan.lock_store else None,
            owner=str(owner),
        )
        report.measurements = measured.measurements(report)
        response = self._until_answered(lambda: emr.conn.list_instances(ClusterId=job_flow_id))
        report.cost = measured.cost(response["Instances"], cluster)

    def _until_answered(self, read: Callable[[], Any]) -> Any:
        return until_answered(read, every=self._plan.poll_seconds)

    def _shown_association(self) -> str | None:
        address = self._until_answered(lambda: self._hooks.eip.get_address(self._plan.allocation_id))
        return address.association_id if address is not None else None

    @staticmethod
    def _poll_until(is_so: Callable[[], bool], *, seconds: float, every: float = _POLL_SECONDS) -> None:
        deadline = clock.time() + seconds
        while not is_so() and clock.time() < deadline:
            clock.sleep(every)

    def _lease_client(self) -> Any:
        return self._hooks.lease_client(self._plan.lock_store, self._plan.allocation_id, who=DAG_ID)

    def _say(self, text: str) -> None:
        note(f"{clock.monotonic() - self._began:6.0f} s  {text}")
