"""``airflow-eip drill``: rehearse a failover, from the checks before it to the report of how long it took."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.address import OnlyOne
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.cli.usage import reading_arguments
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.drill.report import Report
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.preflight import Outcome

DESCRIPTION = """\
Rehearse the failover of a long-running cluster. Without --execute nothing is changed: it checks what would keep the
standby from taking over, which is the subnets and zones, instance types, security groups, target groups, the quota of
vCPUs, the permission to stop the primary, the lease of the address, the rule in Azure's firewall, and the standby with
its services.

With --execute it then stops the primary on purpose, watches what the DAG that watches the primary does, and measures
how long the detection, the start of a cold standby, the move of the address and the targets took. With --fail-over it
does the failover itself, where there is no such DAG. It refuses while
another owner has the address or its lease, and without the id of the primary as a confirmation. At the end, also after
an error, Ctrl-C or SIGTERM, it says which clusters run, and how to end them."""

EXAMPLES = r"""
# a standby that runs already, behind a load balancer
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --standby-job-flow-id j-3BXXXXXXGAPLF \
    --allocation-id eipalloc-0123456789abcdef0 \
    --target-group emr-yarn --target-group emr-hdfs --target-group emr-livy
# a standby that is launched when it is needed
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --job-flow-overrides cluster.json --fallbacks fallbacks.json
# stop the primary, and write what was measured
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --standby-job-flow-id j-3BXXXXXXGAPLF \
    --allocation-id eipalloc-0123456789abcdef0 --target-group emr-livy \
    --execute --rto 10m --report drill"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    again = "; may be given again"
    parser.add_argument("--job-flow-id", required=True, metavar="ID", help="the primary: the cluster that serves now")
    parser.add_argument(
        "--allocation-id",
        action=OnlyOne,
        metavar="ID",
        help="the Elastic IP that moves to the standby, if there is one",
    )
    parser.add_argument("--standby-job-flow-id", metavar="ID", help="the cluster that stands by; or else")
    parser.add_argument(
        "--job-flow-overrides",
        metavar="FILE",
        help="the cluster that is launched then: RunJobFlow's parameters as a JSON file",
    )
    parser.add_argument("--fallbacks", metavar="FILE", help="what is launched when that does not start: a JSON list")
    parser.add_argument(
        "--target-group",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a target group in which the primary node is registered, by name or ARN{again}",
    )
    parser.add_argument(
        "--service",
        action="append",
        default=[],
        choices=["yarn", "hdfs", "livy", "none"],
        help=f"what is asked of primary nodes over HTTP (default: all three){again}",
    )
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="RESOURCE_ID",
        help=f"an Azure SQL server whose firewall has to admit the address{again}",
    )
    parser.add_argument(
        "--azure-conn-id",
        default="azure_default",
        metavar="ID",
        help="the Airflow connection for that (default: azure_default)",
    )
    parser.add_argument(
        "--stop",
        default="instance",
        choices=["instance", "cluster", "by-hand"],
        help="how the primary is stopped: its primary instance is terminated (default), the cluster is, or you do it",
    )
    parser.add_argument(
        "--fail-over",
        action="store_true",
        help="also do the failover, with EmrFailoverOperator: where no DAG watches the primary",
    )
    parser.add_argument(
        "--rto", type=span, default="15m", metavar="SPAN", help="how long the recovery may take (default: 15m)"
    )
    parser.add_argument(
        "--limit", type=span, metavar="SPAN", help="for how long the recovery is watched (default: twice --rto)"
    )
    parser.add_argument(
        "--poll", type=float, default=10.0, metavar="SECONDS", help="seconds between two looks at AWS (default: 10)"
    )
    parser.add_argument("--plan", action="store_true", help="only check, and say what --execute would do: the default")
    parser.add_argument("--execute", action="store_true", help="stop the primary, and measure the recovery")
    parser.add_argument(
        "--yes", metavar="ID", help="with --execute: the id of the primary again, instead of typing it when asked"
    )
    parser.add_argument(
        "--report",
        metavar="NAME",
        help="with --execute: write NAME.json and NAME.html, without the account's number and the public address",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Check; with --execute stop the primary, too, and measure."""
    with only_the_result():
        from airflow_eip_provider.cli.drill.checks import examine_scene
        from airflow_eip_provider.cli.drill.plan import planned
        from airflow_eip_provider.cli.drill.scene import Scene
        from airflow_eip_provider.cli.session import lock_store_of, open_session

        with reading_arguments():
            plan = planned(options, lock_store_of(options))
            _check_confirmation(options)
        session = open_session(options)
        note(session)
        scene = Scene(session, plan)
        outcomes = list(examine_scene(scene))
    has_errors = any(finding.severity == "error" for outcome in outcomes for finding in outcome.findings)
    if not options.execute or has_errors:
        return _show_plan(options, session, plan, outcomes)
    with only_the_result():
        from airflow_eip_provider.cli.drill.work import Drill

        for finding in (finding for outcome in outcomes for finding in outcome.findings):
            note(f"warning: {finding}")
        _confirm(options)
        report = Drill(session, plan, scene, outcomes).perform()
    return _show_report(options, report)


def _check_confirmation(options: argparse.Namespace) -> None:
    """
    Check that a stop is confirmed, or can be.

    :raises UsageError: when it is for another cluster, or nobody can be asked.
    """
    doing, again = "reading --yes", f"give the primary's id: --yes {options.job_flow_id}"
    if options.execute and options.plan:
        raise UsageError("reading --execute", problem="--plan is given, too", remedy="give one")
    if not options.execute:
        if options.yes or options.report:
            raise UsageError("reading --yes and --report", problem="they need --execute", remedy="leave them out")
    elif options.report and not Path(options.report).absolute().parent.is_dir():
        problem = "its folder does not exist"
        raise UsageError(f"reading --report '{options.report}'", problem=problem, remedy="name one that does")
    elif options.yes is not None and options.yes != options.job_flow_id:
        raise UsageError(doing, problem=f"{options.yes!r} is not the primary", remedy=again)
    elif options.yes is None and not sys.stdin.isatty():
        raise UsageError(doing, problem="--execute needs a confirmation, and nobody can be asked", remedy=again)


def _confirm(options: argparse.Namespace) -> None:
    """
    Ask for the primary's id, unless it was given.

    :raises UsageError: when another answer is given.
    """
    if options.yes is not None:
        return
    note(f"--execute stops cluster {options.job_flow_id}. Type its id to go on:")
    answer = sys.stdin.readline().strip()
    if answer != options.job_flow_id:
        problem = f"{answer!r} is not the primary; nothing was changed"
        raise UsageError("asking for a confirmation", problem=problem, remedy="type the primary's id")


def _show_report(options: argparse.Namespace, report: Report) -> int:
    if options.json:
        print_json(report.facts())
        for line in report.left:
            note(f"now: {line}")
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
        account = {"account": session.account, "region": session.region}
        print_json({**account, "plan": plan.facts(), "steps": plan.steps(), "checks": checks, "ready": not errors})
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
