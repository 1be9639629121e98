"""``airflow-eip bootstrap-script``: a bootstrap action for clusters that Airflow does not launch."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.command import OK, Command, Parser, add_json_argument, span
from airflow_eip_provider.cli.output import only_the_result, print_json, write_or_print, written
from airflow_eip_provider.cli.usage import reading_arguments

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Print a bootstrap action that puts an Elastic IP on the primary node of the cluster that runs it: for clusters that are
launched outside Airflow. Put it into S3, and name it as a bootstrap action; its argument is a parametersValues.json,
s3://BUCKET/PATH/parametersValues.json, of which it reads allocationID and clusterVPCID.

It never takes the address from another; while it is busy, it waits. With --lock-store it queues behind the jobs of
Airflow and they behind it; that needs EMR 7. What the role of the nodes must be allowed: docs/bootstrap-action.md.

AWS is not asked."""

EXAMPLES = r"""
# wait up to 45 minutes for the address
airflow-eip bootstrap-script --wait 45m --output associate_eip.sh
# queue with the DAGs that use the same lock store
airflow-eip bootstrap-script --lock-store dynamodb://leases \
    --output associate_eip.sh"""

_LIMIT = timedelta(hours=1)  # EMR's for bootstrap actions, about


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the script (default: print it)")
    parser.add_argument(
        "--wait",
        type=span,
        default="30m",
        metavar="SPAN",
        help="how long it waits for the address, less than an hour (default: 30m)",
    )
    parser.add_argument(
        "--when-busy",
        choices=["fail", "continue"],
        default="fail",
        help="what a cluster does that did not get the address in time: 'fail' (default), or 'continue' without it",
    )
    parser.add_argument(
        "--lock-store",
        metavar="URI",
        help="take part in the lock: the dynamodb:// lock store that all others use, or none (default: none)",
    )
    parser.add_argument(
        "--environment",
        default="by-hand",
        metavar="NAME",
        help="what the names of these owners begin with, before /cluster/j-... (default: by-hand)",
    )
    add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Make the script."""
    with only_the_result():
        from airflow_eip_provider.bootstrap_action.bundle import Options, bootstrap_script
        from airflow_eip_provider.cli.address import checked_environment
        from airflow_eip_provider.exceptions import UsageError

        checked_environment(options.environment)
        if options.wait >= _LIMIT:
            problem = f"{options.wait} is too long: EMR ends a cluster whose bootstrap actions take about an hour"
            remedy = "give less, such as 45m; for a longer wait, run 'airflow-eip associate' elsewhere, or use a DAG"
            raise UsageError("reading --wait", problem=problem, remedy=remedy)
        given = Options(
            wait_seconds=int(options.wait.total_seconds()),
            goes_on=options.when_busy == "continue",
            lock_store=None if options.lock_store == "none" else options.lock_store,
            environment=options.environment,
        )
        with reading_arguments("--lock-store"):
            script = bootstrap_script(given)
    if options.json:
        print_json(written(script, options.output, name="script"))
    else:
        write_or_print(script, options.output)
    return OK


COMMAND = Command(
    "bootstrap-script",
    "make a bootstrap action for clusters of other launchers",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "printed or written",
    },
)
