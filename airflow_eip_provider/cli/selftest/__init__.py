"""``airflow-eip selftest``: launch a small cluster with the address, check what this package promises, and end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.cli.address import OnlyOne
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser, add_common_arguments, span
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.cli.usage import reading_arguments
from airflow_eip_provider.exceptions import PreflightError

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Test an AWS account, or a local EMR, as it is: make the doctor's checks, launch the smallest single-node cluster, put
the Elastic IP on it, run the egress probe as a step, check what the README promises, and end the cluster. It launches,
binds, probes and ends with the same operators as a DAG, and takes the lease in the lock store when there is one.

It refuses while anything has the address, or an owner has its lease or queues for it. Whatever happens, an error,
Ctrl-C or SIGTERM, the cluster is terminated and the address is free. A cluster costs money: --plan shows, without
asking AWS, what would be done and for how long an instance runs at most."""

EXAMPLES = r"""
# what it would do, and for how long an instance would run at most
airflow-eip selftest --allocation-id eipalloc-0123456789abcdef0 \
    --subnet-id subnet-0123456789abcdef0 --plan
# with a database, and a report to attach to an issue
airflow-eip selftest --allocation-id eipalloc-0123456789abcdef0 \
    --subnet-id subnet-0123456789abcdef0 \
    --server NAME.database.windows.net:1433/DATABASE \
    --report selftest.json"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--allocation-id", action=OnlyOne, required=True, metavar="ID", help="the Elastic IP")
    parser.add_argument("--subnet-id", required=True, metavar="ID", help="the public subnet of the cluster")
    parser.add_argument(
        "--release-label", default="emr-7.5.0", metavar="LABEL", help="the EMR release (default: emr-7.5.0)"
    )
    parser.add_argument(
        "--instance-type", default="m5.xlarge", metavar="TYPE", help="of its one node (default: m5.xlarge)"
    )
    parser.add_argument(
        "--service-role", default="EMR_DefaultRole", metavar="ROLE", help="ServiceRole (default: EMR_DefaultRole)"
    )
    parser.add_argument(
        "--instance-profile",
        default="EMR_EC2_DefaultRole",
        metavar="PROFILE",
        help="JobFlowRole (default: EMR_EC2_DefaultRole)",
    )
    parser.add_argument("--log-uri", metavar="URI", help="where EMR writes logs, so that a failed probe can be shown")
    parser.add_argument(
        "--job-flow-overrides", metavar="FILE", help="further parameters of RunJobFlow, as a JSON file, over all others"
    )
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="HOST",
        help="an Azure SQL server that has to admit the address, HOST:PORT/DATABASE; may be given again",
    )
    parser.add_argument(
        "--echo-url",
        metavar="URL",
        help="the page that says which address it sees (default: https://checkip.amazonaws.com)",
    )
    parser.add_argument(
        "--measure-drop",
        action="store_true",
        help="also measure when EC2 takes the address off a terminated instance: the address is freed that much later",
    )
    parser.add_argument(
        "--timeout",
        type=span,
        default="30m",
        metavar="SPAN",
        help="how long the start, the probe and the end may take, each of them (default: 30m)",
    )
    parser.add_argument(
        "--poll", type=float, default=5.0, metavar="SECONDS", help="seconds between two looks at AWS (default: 5)"
    )
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write the result as JSON, without the account's number and the public address, to attach to a report",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Plan, or launch, check and end."""
    with only_the_result():
        from airflow_eip_provider.cli.selftest.plan import planned
        from airflow_eip_provider.cli.session import lock_store_of
        from airflow_eip_provider.operators.lease_settings import lock_store_uri

        with reading_arguments():
            lock_store = lock_store_uri(lock_store_of(options))
            plan = planned(options, lock_store)
        if not options.plan:
            from airflow_eip_provider.cli.selftest.work import SelfTest
            from airflow_eip_provider.cli.session import open_session

            session = open_session(options)
            note(session)
            report = SelfTest(session, plan).perform()
    if options.plan:
        if options.json:
            print_json(plan.facts())
        else:
            print("\n".join(plan.lines()))
        return OK
    if options.json:
        print_json(report.facts())
    else:
        report.print()
    if options.report:
        report.write(options.report)
    if isinstance(report.error, PreflightError):
        note(f"error: {report.error}")
        return FOUND
    if report.error is not None:
        raise report.error
    return OK if report.is_passed else FOUND


COMMAND = Command(
    "selftest",
    "launch a small cluster with the address, and check it",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "everything is as promised",
        FAILED: "an error, or the address is in use",
        FOUND: "a check before the launch found an error, or a promise was not kept",
    },
)
