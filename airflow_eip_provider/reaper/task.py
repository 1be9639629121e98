"""The reaper as a task of a DAG."""

from __future__ import annotations

import functools
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.airflow_compat import dag_run_state
from airflow_eip_provider.exceptions import ReapingFailedError
from airflow_eip_provider.hooks.aws import PATIENT, AwsHooks
from airflow_eip_provider.operators.lease_settings import configured_lock_store
from airflow_eip_provider.operators.owner import own_environment
from airflow_eip_provider.reaper.owners import Owners
from airflow_eip_provider.reaper.reaper import Reaper

if TYPE_CHECKING:
    from collections.abc import Collection

log = logging.getLogger(__name__)


def reap(
    ti: Any,
    *,
    dry_run: bool = True,
    gone_environments: Collection[str] = (),
    job_flow_ids: Collection[str] = (),
    min_age_hours: float = 1.0,
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
) -> dict[str, Any]:
    """
    Survey a region from a task, and reap unless it is a dry run; the lock store is ``[eip] lock_store``.

    :param ti: the running task instance, which can read the state of other DAG runs.
    :return: plain JSON: the clusters with a decision and a reason each, findings, and outcomes.
    :raises ReapingFailedError: when a cluster could not be reaped; the others were.
    """
    reaper = Reaper(
        hooks=AwsHooks(aws_conn_id=aws_conn_id, region_name=region_name, config=PATIENT),
        owners=Owners(
            environment=own_environment(),
            gone=gone_environments,
            run_state=functools.partial(dag_run_state, ti=ti),
        ),
        lock_store=configured_lock_store(),
        min_age=timedelta(hours=min_age_hours),
        job_flow_ids=job_flow_ids,
    )
    survey = reaper.survey()
    for judged in survey.clusters:
        log.info("%s", judged)
    for finding in (*survey.findings, *survey.gateways):
        log.warning("%s", finding)
    outcomes = [] if dry_run else reaper.reap_all(survey)
    for outcome in outcomes:
        log.info("%s", outcome)
    if failed := [str(outcome) for outcome in outcomes if outcome.failed]:
        raise ReapingFailedError(failed)
    if dry_run and survey.to_reap:
        log.warning("This is a dry run: %d clusters would be reaped", len(survey.to_reap))
    return {"dry_run": dry_run, **survey.facts(), "outcomes": [outcome.facts() for outcome in outcomes]}
