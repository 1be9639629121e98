"""``airflow-eip selftest``: launch a small cluster with the address, check the promises of the README, and end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.cli.arguments import (
    StoreOnce,
    add_common_arguments,
    add_duration,
    add_list,
    check_report,
    reading_arguments,
)
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.exceptions import PreflightError

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Test an AWS account, or a local EMR: run the doctor's checks, launch the smallest single-node cluster, associate the
Elastic IP with it, run the egress probe as a step, check what the README promises, and terminate the cluster. It uses
the same operators as a DAG, and takes the lease in the lock store if there is one.

It refuses while the address is in use, or an owner has its lease or waits for it. After an error, Ctrl-C or SIGTERM it
also terminates the cluster and frees the address. A cluster costs money: --plan shows, without calling AWS, what the
test would do and how long an instance would run at most."""

EXAMPLES = r"""
# what it would do, and how long an instance would run at most
airflow-eip selftest --allocation-id eipalloc-0123456789abcdef0 \
    --subnet-id subnet-0123456789abcdef0 --plan
# with a database, and a report to attach to an issue
airflow-eip selftest --allocation-id eipalloc-0123456789abcdef0 \
    --subnet-id subnet-0123456789abcdef0 \
    --server NAME.database.windows.net:1433/DATABASE \
    --report selftest.json"""


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--allocation-id", action=StoreOnce, required=True, metavar="ID", help="the Elastic IP")
    parser.add_argument("--subnet-id", required=True, metavar="ID", help="the public subnet of the cluster")
    parser.add_argument(
        "--release-label", default="emr-7.5.0", metavar="LABEL", help="the EMR release (default: emr-7.5.0)"
    )
    parser.add_argument(
        "--instance-type", default="m5.xlarge", metavar="TYPE", help="the type of its one node (default: m5.xlarge)"
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
    parser.add_argument("--log-uri", metavar="URI", help="where EMR writes logs, to show those of a failed probe")
    parser.add_argument(
        "--job-flow-overrides", metavar="FILE", help="a JSON file with RunJobFlow parameters that override all others"
    )
    add_list(parser, "--server", "HOST", "an Azure SQL server that must admit the address, HOST:PORT/DATABASE")
    parser.add_argument(
        "--echo-url",
        metavar="URL",
        help="a page that returns the client's address (default: https://checkip.amazonaws.com)",
    )
    parser.add_argument(
        "--measure-drop",
        action="store_true",
        help="also measure when EC2 removes the address from a terminated instance; this frees the address later",
    )
    add_duration(parser, "--timeout", "how long each of the start, the probe and the end may take", default="30m")
    parser.add_argument(
        "--poll", type=float, default=5.0, metavar="SECONDS", help="seconds between two polls of AWS (default: 5)"
    )
    parser.add_argument("--plan", action="store_true", help="print what the test would do, and do nothing")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write the result as JSON, without the account number and the public address, to attach to a bug report",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the plan, or carry out the test and print the report."""
    with only_the_result():
        from airflow_eip_provider.cli.selftest.plan import plan_from_options
        from airflow_eip_provider.cli.session import lock_store_of
        from airflow_eip_provider.operators.lease_settings import lock_store_uri

        with reading_arguments():
            check_report(options.report)
            plan = plan_from_options(options, lock_store_uri(lock_store_of(options)))
        if not options.plan:
            from airflow_eip_provider.cli.selftest.work import SelfTest
            from airflow_eip_provider.cli.session import open_session

            session = open_session(options)
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
