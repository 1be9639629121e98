"""``airflow-eip drill``: rehearse a failover, from the checks before it to the report on how long it took."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.arguments import (
    StoreOnce,
    add_common_arguments,
    add_duration,
    add_list,
    check_report,
    duration,
    reading_arguments,
)
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.drill.report import Report
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.preflight import Outcome

DESCRIPTION = """\
Rehearse the failover of a long-running cluster. Without --execute it changes nothing. It checks what would keep the
standby from taking over: subnets and zones, instance types, security groups, target groups, the vCPU quota, the
permission to stop the primary, the lease of the address, the rule in Azure's firewall, and the standby with its
services.

With --execute it then stops the primary on purpose, observes the failover by the DAG that monitors the primary, and
measures how long the detection, the start of a cold standby, the move of the address and the targets took. With
--fail-over it does the failover itself; use it if there is no such DAG. It refuses while another owner has the address
or its lease, and without the id of the primary as a confirmation. At the end, also after an error, Ctrl-C or SIGTERM,
it lists the running clusters and how to terminate them."""

EXAMPLES = r"""
# a running standby behind a load balancer
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --standby-job-flow-id j-3BXXXXXXGAPLF \
    --allocation-id eipalloc-0123456789abcdef0 \
    --target-group emr-yarn --target-group emr-hdfs --target-group emr-livy
# a standby that is launched when it is needed
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --job-flow-overrides cluster.json --fallbacks fallbacks.json
# stop the primary, and write a report
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --standby-job-flow-id j-3BXXXXXXGAPLF \
    --allocation-id eipalloc-0123456789abcdef0 --target-group emr-livy \
    --execute --rto 10m --report drill"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--job-flow-id", required=True, metavar="ID", help="the primary: the cluster that serves now")
    parser.add_argument(
        "--allocation-id",
        action=StoreOnce,
        metavar="ID",
        help="the Elastic IP that moves to the standby, if there is one",
    )
    parser.add_argument(
        "--standby-job-flow-id", metavar="ID", help="the standby, if it runs; else give --job-flow-overrides"
    )
    parser.add_argument(
        "--job-flow-overrides",
        metavar="FILE",
        help="the standby that is launched when it is needed: RunJobFlow's parameters as a JSON file",
    )
    parser.add_argument("--fallbacks", metavar="FILE", help="what to launch when that does not start: a JSON list")
    add_list(parser, "--target-group", "NAME", "a target group in which the primary node is registered, by name or ARN")
    parser.add_argument(
        "--service",
        action="append",
        default=[],
        choices=["yarn", "hdfs", "livy", "none"],
        help="a service to check on primary nodes over HTTP (default: all three); can be repeated",
    )
    add_list(parser, "--server", "RESOURCE_ID", "an Azure SQL server whose firewall must admit the address")
    parser.add_argument(
        "--azure-conn-id",
        default="azure_default",
        metavar="ID",
        help="the Airflow connection for it (default: azure_default)",
    )
    parser.add_argument(
        "--stop",
        default="instance",
        choices=["instance", "cluster", "by-hand"],
        help="how to stop the primary: terminate its primary instance (default) or the cluster, or you stop it by hand",
    )
    parser.add_argument(
        "--fail-over",
        action="store_true",
        help="also do the failover, with EmrFailoverOperator; use it if no DAG monitors the primary",
    )
    add_duration(parser, "--rto", "how long the recovery may take", default="15m")
    parser.add_argument(
        "--limit", type=duration, metavar="DURATION", help="how long to watch the recovery (default: twice --rto)"
    )
    parser.add_argument(
        "--poll", type=float, default=10.0, metavar="SECONDS", help="seconds between two polls of AWS (default: 10)"
    )
    parser.add_argument(
        "--plan", action="store_true", help="only check, and print what --execute would do: the default"
    )
    parser.add_argument("--execute", action="store_true", help="stop the primary, and measure the recovery")
    parser.add_argument(
        "--yes", metavar="ID", help="with --execute: the id of the primary again, instead of typing it when asked"
    )
    parser.add_argument(
        "--report",
        metavar="NAME",
        help="with --execute: write NAME.json and NAME.html, without the account number and the public address",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the checks; with --execute also stop the primary and measure the recovery."""
    with only_the_result():
        from airflow_eip_provider.cli.drill.checks import run_checks
        from airflow_eip_provider.cli.drill.plan import plan_from_options
        from airflow_eip_provider.cli.drill.resources import Resources
        from airflow_eip_provider.cli.session import lock_store_of, open_session

        with reading_arguments():
            plan = plan_from_options(options, lock_store_of(options))
            _check_confirmation(options)
        session = open_session(options)
        resources = Resources(session, plan)
        outcomes = list(run_checks(resources))
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if not options.execute or any(finding.severity == "error" for finding in findings):
        return _show_plan(options, session, plan, outcomes)
    with only_the_result():
        from airflow_eip_provider.cli.drill.work import Drill

        for finding in findings:
            note(f"warning: {finding}")
        _confirm(options)
        report = Drill(session, plan, resources, outcomes).perform()
    return _show_report(options, report)


def _check_confirmation(options: argparse.Namespace) -> None:
    """
    Check the arguments about the confirmation and the report, before AWS is called.

    :raises UsageError: when --execute is not confirmed and no one can be asked, or the arguments contradict each other.
    """
    if not options.execute:
        if options.yes or options.report:
            raise UsageError("reading --yes and --report", problem="they need --execute", remedy="leave them out")
        return
    if options.plan:
        raise UsageError("reading --execute", problem="--plan is also given", remedy="give one")
    check_report(options.report and f"{options.report}.json")
    problem = ""
    if options.yes is None and not sys.stdin.isatty():
        problem = "--execute needs a confirmation, and there is no terminal to ask for it"
    elif options.yes not in {None, options.job_flow_id}:
        problem = f"{options.yes!r} is not the primary"
    if problem:
        raise UsageError("reading --yes", problem=problem, remedy=f"give the primary's id: --yes {options.job_flow_id}")


def _confirm(options: argparse.Namespace) -> None:
    """
    Ask for the primary's id, unless it was given.

    :raises UsageError: when the answer is not the primary's id.
    """
    if options.yes is not None:
        return
    note(f"--execute stops cluster {options.job_flow_id}. Type its id to continue:")
    answer = sys.stdin.readline().strip()
    if answer != options.job_flow_id:
        problem = f"{answer!r} is not the primary; nothing was changed"
        raise UsageError("asking for a confirmation", problem=problem, remedy="type the primary's id")


def _show_report(options: argparse.Namespace, report: Report) -> int:
    if options.json:
        print_json(report.facts())
        report.note_left()
    else:
        report.print()
    if options.report:
        report.write(options.report)
    if report.error is not None:
        raise report.error
    return OK if report.is_met else FOUND


def _show_plan(options: argparse.Namespace, session: Session, plan: Plan, outcomes: Sequence[Outcome]) -> int:
    from airflow_eip_provider.cli.findings import facts_of, print_outcomes

    findings = [finding for outcome in outcomes for finding in outcome.findings]
    errors = [finding for finding in findings if finding.severity == "error"]
    if options.json:
        checks = [facts_of(outcome) for outcome in outcomes]
        facts = {"plan": plan.facts(), "steps": plan.steps(), "checks": checks, "ready": not errors}
        print_json({**session.facts, **facts})
    else:
        print_outcomes(outcomes)
        print()
        if options.execute:
            note("error: nothing was stopped, as the standby would not take over")
        else:
            print("What --execute would do:")
            print("\n".join(f"{number}. {step}" for number, step in enumerate(plan.steps(), 1)))
        note(f"errors: {len(errors)}, warnings: {len(findings) - len(errors)}")
    return FOUND if errors else OK


COMMAND = Command(
    "drill",
    "rehearse the failover of a long-running cluster",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "no check found an error; with --execute, the recovery was within --rto",
        FAILED: "an error, or another owner has the address",
        FOUND: "a check found an error, or the recovery took longer than --rto",
    },
)
