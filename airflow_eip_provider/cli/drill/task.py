"""A drill as the tasks of a DAG."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.drill.checks import examine_scene
from airflow_eip_provider.cli.drill.plan import INSTANCE, SERVICES, checked_plan
from airflow_eip_provider.cli.drill.scene import Scene
from airflow_eip_provider.cli.drill.work import Drill
from airflow_eip_provider.cli.findings import facts_of
from airflow_eip_provider.cli.session import Session
from airflow_eip_provider.exceptions import InvalidInputError, TransientError
from airflow_eip_provider.hooks.aws import PATIENT, AwsHooks
from airflow_eip_provider.operators.lease_settings import configured_lock_store
from airflow_eip_provider.operators.targets import check_job_flow_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.preflight import Outcome


def plan_drill(**settings: Any) -> dict[str, Any]:
    """
    Check what would keep the standby from taking over; nothing is changed.

    :param settings: the parameters of :func:`execute_drill`, but for ``confirm`` and ``ti``.
    :return: the plan and the checks as plain JSON.
    :raises InvalidInputError: naming everything that would keep it from that.
    """
    _, plan, _, outcomes = _examined(**settings)
    return {"plan": plan.facts(), "steps": plan.steps(), "checks": [facts_of(outcome) for outcome in outcomes]}


def execute_drill(*, confirm: str, ti: Any = None, **settings: Any) -> dict[str, Any]:
    """
    Stop the primary and measure the recovery, after the checks of :func:`plan_drill`.

    The settings are ``job_flow_id``, ``allocation_id``, ``standby_job_flow_id`` or ``job_flow_overrides`` with
    ``fallbacks``, ``target_groups``, ``services``, ``servers``, ``azure_conn_id``, ``stop``, ``fail_over``,
    ``rto_minutes``, ``limit_minutes``, ``poll_seconds``, ``aws_conn_id`` and ``region_name``, as for ``airflow-eip
    drill``. The lock store is ``[eip] lock_store``.

    :param confirm: the id of the primary once more.
    :param ti: of the running task, which gets the report as the XCom ``drill``, also when the recovery took too long.
    :return: the report as plain JSON.
    :raises InvalidInputError: when the confirmation is for another cluster, or a check finds an error; nothing was
        stopped.
    :raises TransientError: when the recovery took longer than ``rto_minutes``, or was not seen.
    """
    if confirm != settings.get("job_flow_id"):
        raise InvalidInputError(
            f"drilling cluster '{settings.get('job_flow_id')}'",
            problem=f"the confirmation is for {confirm!r}; nothing was changed",
            remedy="give the id of the primary as confirm",
        )
    session, plan, scene, outcomes = _examined(**settings)
    report = Drill(session, plan, scene, outcomes).perform()
    facts = report.facts()
    if ti is not None:
        ti.xcom_push(key="drill", value=facts)
    if report.error is not None:
        raise report.error
    if not report.is_met:
        took = "was not seen" if report.seconds is None else f"took {report.seconds} s"
        raise TransientError(
            f"drilling cluster '{plan.job_flow_id}'",
            problem=f"the recovery {took}; the RTO is {facts['rto_seconds']} s",
            remedy="the log and the XCom 'drill' say which part took how long",
        )
    return facts


def _examined(
    *, aws_conn_id: str | None = "aws_default", region_name: str | None = None, **settings: Any
) -> tuple[Session, Plan, Scene, Sequence[Outcome]]:
    """
    Make the checks.

    :raises InvalidInputError: naming every error that they find.
    """
    plan = _plan(**settings)
    hooks = AwsHooks(aws_conn_id=aws_conn_id, region_name=region_name, config=PATIENT)
    session = Session(hooks, region=hooks.eip.conn_region_name, account=str(hooks.eip.account_id))
    scene = Scene(session, plan)
    outcomes = list(examine_scene(scene))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    for finding in findings:
        hooks.eip.log.warning("%s: %s", finding.severity, finding)
    if errors := [str(finding) for finding in findings if finding.severity == "error"]:
        raise InvalidInputError(
            f"checking what would take over from cluster '{plan.job_flow_id}'",
            problem=" | ".join(errors),
            remedy="correct that before the primary fails; nothing was changed",
        )
    return session, plan, scene, outcomes


def _plan(
    *,
    job_flow_id: str,
    allocation_id: str | None = None,
    standby_job_flow_id: str | None = None,
    job_flow_overrides: Mapping[str, Any] | None = None,
    fallbacks: Sequence[Any] = (),
    target_groups: Sequence[Any] = (),
    services: Sequence[str] = tuple(SERVICES),
    servers: Sequence[str] = (),
    azure_conn_id: str = "azure_default",
    stop: str = INSTANCE,
    fail_over: bool = False,
    rto_minutes: float = 15,
    limit_minutes: float | None = None,
    poll_seconds: float = 10,
) -> Plan:
    for cluster in filter(None, (job_flow_id, standby_job_flow_id)):
        check_job_flow_id(cluster)
    return checked_plan(
        job_flow_id=job_flow_id,
        allocation_id=allocation_id,
        lock_store=configured_lock_store(),
        standby_id=standby_job_flow_id,
        job_flow=job_flow_overrides,
        fallbacks=list(fallbacks),
        target_groups=list(target_groups),
        servers=list(servers),
        azure_conn_id=azure_conn_id,
        services=list(services),
        stop=stop,
        fails_over=fail_over,
        rto=timedelta(minutes=rto_minutes),
        limit=timedelta(minutes=limit_minutes) if limit_minutes else None,
        poll_seconds=poll_seconds,
    )
