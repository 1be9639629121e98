"""``airflow-eip reap``: end what is left when its owner has finished."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json, print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.reaper import Found, Outcome, Survey

DESCRIPTION = """\
List the live EMR clusters that were launched for an Elastic IP, and end those whose owner has finished, with their
lease and their association; and NAT gateways that outlived the cluster which they were made for. A dry run unless
--yes is given.

An owner has finished when its DAG run has ended (known for this environment's own runs), or when its environment is
declared gone. A cluster of which nothing is known is listed and left alone. That another DAG still uses the cluster is
not seen: reap only where clusters live no longer than the DAG run that created them."""

EXAMPLES = """\
# what there is, and what would be reaped
airflow-eip reap
# reap, also what an environment left that is gone for good
airflow-eip reap --environment staging --yes"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--yes", action="store_true", help="reap; without it this is a dry run")
    parser.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME",
        help="an Airflow environment that is gone for good; may be given again",
    )
    parser.add_argument(
        "--job-flow-id",
        action="append",
        default=[],
        metavar="ID",
        help="a cluster to reap although nothing is known of its owner, if it runs no step; may be given again",
    )
    parser.add_argument(
        "--min-age", type=span, default="1h", metavar="SPAN", help="keep younger clusters, e.g. 90m (default: 1h)"
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Survey, say so, and reap when told to."""
    with only_the_result():
        from airflow_eip_provider.airflow_compat import dag_run_state
        from airflow_eip_provider.cli.address import checked_job_flow_id
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.operators.owner import own_environment
        from airflow_eip_provider.reaper import Owners, Reaper

        for job_flow_id in options.job_flow_id:
            checked_job_flow_id(job_flow_id)
        owners = Owners(environment=own_environment(), gone=options.environment, run_state=dag_run_state)
        session = open_session(options)
        note(session)
        reaper = Reaper(
            hooks=session.hooks,
            owners=owners,
            lock_store=lock_store_of(options),
            min_age=options.min_age,
            job_flow_ids=options.job_flow_id,
        )
        survey = reaper.survey()
    if not options.json:
        _print(survey, dry_run=not options.yes)
    with only_the_result():
        outcomes = reaper.reap_all(survey) if options.yes else []
    if options.json:
        print_json(_facts(session, survey, outcomes, dry_run=not options.yes))
    for outcome in outcomes:
        note(outcome)
    if any(outcome.failed for outcome in outcomes):
        return FAILED
    return FOUND if (survey.to_reap or survey.gateways) and not options.yes else OK


def _print(survey: Survey, *, dry_run: bool) -> None:
    header = ("DECISION", "CLUSTER", "STATE", "AGE", "ADDRESS", "OWNER", "REASON")
    print_table(header, [_row(found) for found in survey.clusters])
    for finding in (*survey.findings, *survey.gateways):
        note(finding)
    for job_flow_id in survey.absent:
        note(f"{job_flow_id} is no live cluster that was launched for an Elastic IP (any more)")
    if dry_run and survey.gateways:
        note(f"A dry run: {len(survey.gateways)} NAT gateways would be removed with --yes")
    if dry_run and survey.to_reap:
        note(f"A dry run: {len(survey.to_reap)} of {len(survey.clusters)} would be reaped with --yes")


def _row(found: Found) -> tuple[str, ...]:
    cluster = found.cluster
    age = str(timedelta(seconds=int(cluster.age.total_seconds()))) if cluster.age else "?"
    return (
        found.decision.value,
        cluster.job_flow_id,
        cluster.state,
        age,
        found.allocation_id,
        found.owner,
        found.reason,
    )


def _facts(session: Session, survey: Survey, outcomes: Sequence[Outcome], *, dry_run: bool) -> dict[str, object]:
    where = {"account": session.account, "region": session.region, "dry_run": dry_run}
    return {**where, **survey.facts(), "outcomes": [outcome.facts() for outcome in outcomes]}


COMMAND = Command(
    "reap",
    "end clusters whose owner has finished",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "nothing to do, or done",
        FOUND: "a dry run that would reap something",
    },
)
