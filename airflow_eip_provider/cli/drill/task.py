"""A drill as the tasks of a DAG."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_eip_provider.aws.resource_ids import check_job_flow_id
from airflow_eip_provider.cli.drill.checks import run_checks
from airflow_eip_provider.cli.drill.plan import Plan
from airflow_eip_provider.cli.drill.resources import Resources
from airflow_eip_provider.cli.drill.work import Drill
from airflow_eip_provider.cli.findings import facts_of
from airflow_eip_provider.cli.session import Session
from airflow_eip_provider.exceptions import InvalidInputError, TransientError
from airflow_eip_provider.hooks.aws import PATIENT, AwsHooks
from airflow_eip_provider.operators.lease_settings import configured_lock_store


def plan_drill(**settings: Any) -> dict[str, Any]:
    """
    Check what would keep the standby from taking over; change nothing.

    :param settings: the parameters of :func:`execute_drill` without ``confirm`` and ``ti``.
    :return: the plan and the checks as plain JSON.
    :raises InvalidInputError: with everything that would keep the standby from taking over.
    """
    drill = _checked_drill(**settings)
    plan, outcomes = drill.report.plan, drill.report.outcomes
    return {"plan": plan.facts(), "steps": plan.steps(), "checks": [facts_of(outcome) for outcome in outcomes]}


def execute_drill(*, confirm: str, ti: Any = None, **settings: Any) -> dict[str, Any]:
    """
    Stop the primary and measure the recovery, after the checks of :func:`plan_drill`.

    The settings are ``job_flow_id``, ``allocation_id``, ``standby_job_flow_id`` or ``job_flow_overrides`` with
    ``fallbacks``, ``target_groups``, ``services``, ``servers``, ``azure_conn_id``, ``stop``, ``fail_over``,
    ``rto_minutes``, ``limit_minutes``, ``poll_seconds``, ``aws_conn_id`` and ``region_name``, as for ``airflow-eip
    drill``. The lock store is ``[eip] lock_store``.

    :param confirm: the id of the primary again.
    :param ti: the task instance that gets the report as the XCom ``drill``, also when the recovery took too long.
    :return: the report as plain JSON.
    :raises InvalidInputError: when the confirmation is for another cluster, or a check finds an error; nothing was
        stopped.
    :raises TransientError: when the recovery took longer than ``rto_minutes``, or was not observed.
    """
    if confirm != settings.get("job_flow_id"):
        raise InvalidInputError(
            f"drilling cluster '{settings.get('job_flow_id')}'",
            problem=f"the confirmation is for {confirm!r}; nothing was changed",
            remedy="give the id of the primary as confirm",
        )
    report = _checked_drill(**settings).perform()
    facts = report.facts()
    if ti is not None:
        ti.xcom_push(key="drill", value=facts)
    if report.error is not None:
        raise report.error
    if not report.is_met:
        took = "was not seen" if report.seconds is None else f"took {report.seconds} s"
        raise TransientError(
            f"drilling cluster '{report.plan.job_flow_id}'",
            problem=f"the recovery {took}; the RTO is {report.plan.rto_seconds} s",
            remedy="the log and the XCom 'drill' say how long each part took",
        )
    return facts


def _checked_drill(
    *,
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
    rto_minutes: float = 15,
    limit_minutes: float | None = None,
    **settings: Any,
) -> Drill:
    """
    Run the checks, and return the drill.

    :raises InvalidInputError: with every error that the checks find.
    """
    for job_flow_id in filter(None, map(settings.get, ("job_flow_id", "standby_job_flow_id"))):
        check_job_flow_id(job_flow_id)
    plan = Plan(
        lock_store=configured_lock_store() if settings.get("allocation_id") else None,
        rto=timedelta(minutes=rto_minutes),
        limit=timedelta(minutes=limit_minutes) if limit_minutes else None,
        **settings,
    )
    hooks = AwsHooks(aws_conn_id=aws_conn_id, region_name=region_name, config=PATIENT)
    session = Session(hooks, region=hooks.eip.conn_region_name, account=str(hooks.eip.account_id))
    resources = Resources(session, plan)
    outcomes = list(run_checks(resources))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    for finding in findings:
        hooks.eip.log.warning("%s: %s", finding.severity, finding)
    if errors := [str(finding) for finding in findings if finding.severity == "error"]:
        raise InvalidInputError(
            f"checking the standby of cluster '{plan.job_flow_id}'",
            problem=" | ".join(errors),
            remedy="correct that before the primary fails; nothing was changed",
        )
    return Drill(session, plan, resources, outcomes)
