"""``airflow-eip reap``: terminate clusters whose owner has finished."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.arguments import (
    add_common_arguments,
    add_duration,
    add_list,
    checked_job_flow_id,
)
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table

if TYPE_CHECKING:
    import argparse

    from airflow_eip_provider.reaper import JudgedCluster, Survey

DESCRIPTION = """\
List the running EMR clusters that were launched for an Elastic IP, and terminate those whose owner has finished;
disassociate their address and release their lease. Also remove the NAT gateways that were created for a cluster and
still exist after it. Without --yes, nothing is changed (a dry run).

An owner has finished when its DAG run has finished, which is known for runs of this Airflow environment, or when its
environment is named with --environment. A cluster with an unknown owner is listed and left alone.

The command does not know whether another DAG run still uses a cluster. Use it only where no cluster outlives the DAG
run that created it."""

EXAMPLES = """\
# List the clusters, and what would be terminated
airflow-eip reap
# Terminate them, including those of an environment that was deleted
airflow-eip reap --environment staging --yes"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--yes", action="store_true", help="make the changes (default: a dry run)")
    add_list(
        parser, "--environment", "NAME", "an Airflow environment that was deleted, so that all its owners have finished"
    )
    add_list(
        parser, "--job-flow-id", "ID", "a cluster to terminate even if its owner is unknown, unless it runs a step"
    )
    add_duration(parser, "--min-age", "keep clusters younger than this, e.g. 90m", default="1h")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """List what was left behind, and with ``--yes`` remove it."""
    dry_run = not options.yes
    with only_the_result():
        from airflow_eip_provider.airflow_compat import dag_run_state
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.operators.owner import own_environment
        from airflow_eip_provider.reaper import Owners, Reaper

        for job_flow_id in options.job_flow_id:
            checked_job_flow_id(job_flow_id)
        owners = Owners(environment=own_environment(), gone=options.environment, run_state=dag_run_state)
        session = open_session(options)
        reaper = Reaper(
            hooks=session.hooks,
            owners=owners,
            lock_store=lock_store_of(options),
            min_age=options.min_age,
            job_flow_ids=options.job_flow_id,
        )
        survey = reaper.survey()
    if not options.json:
        _print(survey, dry_run=dry_run)
    with only_the_result():
        outcomes = [] if dry_run else reaper.reap_all(survey)
    if options.json:
        results = [outcome.facts() for outcome in outcomes]
        print_json({**session.facts, "dry_run": dry_run, **survey.facts(), "outcomes": results})
    for outcome in outcomes:
        note(outcome)
    for job_flow_id in survey.not_known:
        note(f"error: EMR does not know cluster {job_flow_id} in region {session.region}: check the ID and the region")
    if survey.not_known or any(outcome.failed for outcome in outcomes):
        return FAILED
    return FOUND if dry_run and (survey.to_reap or survey.gateways) else OK


def _print(survey: Survey, *, dry_run: bool) -> None:
    from airflow_eip_provider.reaper import Decision

    header = ("DECISION", "CLUSTER", "STATE", "AGE", "ADDRESS", "OWNER", "REASON")
    print_table(header, [_row(judged) for judged in survey.clusters])
    for finding in (*survey.findings, *survey.gateways):
        note(finding)
    for job_flow_id in sorted({*survey.absent} - {*survey.not_known}):
        note(f"{job_flow_id} is not a running cluster that was launched for an Elastic IP")
    unknown = [judged.cluster.job_flow_id for judged in survey.clusters if judged.decision is Decision.UNKNOWN]
    if unknown:
        note(f"warning: left alone, as the owner is unknown: {', '.join(unknown)}; see the reasons")
    if dry_run and survey.gateways:
        note(f"Dry run: {len(survey.gateways)} NAT gateways would be removed with --yes")
    if dry_run and survey.to_reap:
        note(f"Dry run: {len(survey.to_reap)} of {len(survey.clusters)} clusters would be terminated with --yes")


def _row(judged: JudgedCluster) -> tuple[str, ...]:
    cluster = judged.cluster
    age = str(timedelta(seconds=int(cluster.age.total_seconds()))) if cluster.age else "?"
    return (
        judged.decision.value,
        cluster.job_flow_id,
        cluster.state,
        age,
        judged.allocation_id,
        judged.owner,
        judged.reason,
    )


COMMAND = Command(
    "reap",
    "terminate clusters whose owner has finished",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        FAILED: "an error, or EMR does not know a cluster of --job-flow-id",
        FOUND: "a dry run that would terminate or remove something",
    },
)
