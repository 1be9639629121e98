"""``airflow-eip drill``: rehearse a failover, from the checks before it to the report of how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.cli.usage import reading_arguments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.preflight import Outcome

DESCRIPTION = """\
Rehearse the failover of a long-running cluster. Without --execute nothing is changed: it checks what would keep the
standby from taking over, which is the subnets and zones, instance types, security groups, target groups, the quota of
vCPUs, the permission to stop the primary, the lease of the address, the rule in Azure's firewall, and the standby with
its services."""

EXAMPLES = r"""
# a standby that runs already, behind a load balancer
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --standby-job-flow-id j-3BXXXXXXGAPLF \
    --allocation-id eipalloc-0123456789abcdef0 \
    --target-group emr-yarn --target-group emr-hdfs --target-group emr-livy
# a standby that is launched when it is needed
airflow-eip drill --job-flow-id j-2AXXXXXXGAPLF \
    --job-flow-overrides cluster.json --fallbacks fallbacks.json"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    again = "; may be given again"
    parser.add_argument("--job-flow-id", required=True, metavar="ID", help="the primary: the cluster that serves now")
    parser.add_argument(
        "--allocation-id", metavar="ID", help="the Elastic IP that moves to the standby, if there is one"
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
        "--fail-over", action="store_true", help="do the failover here, where no DAG watches the primary"
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
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Check."""
    with only_the_result():
        from airflow_eip_provider.cli.drill.checks import examine_scene
        from airflow_eip_provider.cli.drill.plan import planned
        from airflow_eip_provider.cli.drill.scene import Scene
        from airflow_eip_provider.cli.session import lock_store_of, open_session

        with reading_arguments():
            plan = planned(options, lock_store_of(options))
        session = open_session(options)
        note(session)
        outcomes = list(examine_scene(Scene(session, plan)))
    return _show_plan(options, session, plan, outcomes)


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
        OK: "no check found an error",
        FAILED: "an error, which standard error names",
        FOUND: "a check found an error: the standby would not take over",
    },
)
