"""``airflow-eip bootstrap-script``: generate a bootstrap action for clusters that Airflow does not launch."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.arguments import add_duration, add_json_argument, checked_environment, reading_arguments
from airflow_eip_provider.cli.command import OK, Command, Parser
from airflow_eip_provider.cli.output import only_the_result, print_document
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Generate a bootstrap action that associates an Elastic IP with the primary node of the cluster that runs it. Use it for
clusters that are launched outside Airflow: copy the script to S3 and name it as a bootstrap action of the cluster. Its
argument is the S3 URI of a parametersValues.json, from which it reads allocationID and clusterVPCID.

The script never takes the address from another resource: it waits while the address is in use. With --lock-store, the
cluster and the jobs of Airflow wait for the address in one queue; this needs EMR 7. For the IAM permissions of the EC2
instance profile see docs/bootstrap-action.md.

The command does not call AWS."""

EXAMPLES = r"""
# Wait up to 45 minutes for the address
airflow-eip bootstrap-script --wait 45m --output associate_eip.sh
# Share a queue with the DAGs that use the same lock store
airflow-eip bootstrap-script --lock-store dynamodb://leases \
    --output associate_eip.sh"""

_LIMIT = timedelta(hours=1)  # EMR's for bootstrap actions, about


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the script to this file (default: print it)")
    add_duration(parser, "--wait", "how long the script waits for the address, less than an hour", default="30m")
    parser.add_argument(
        "--when-busy",
        choices=["fail", "continue"],
        default="fail",
        help="what happens if the address is still in use after that: 'fail' ends the cluster (default), 'continue' "
        "starts it without the address",
    )
    parser.add_argument(
        "--lock-store",
        metavar="URI",
        help="the dynamodb:// lock store that all users of the address share, or 'none' (default: none)",
    )
    parser.add_argument(
        "--environment",
        default="by-hand",
        metavar="NAME",
        help="the first part of the owner name ENVIRONMENT/cluster/ID in the lock store (default: by-hand)",
    )
    add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Generate the script."""
    with only_the_result():
        from airflow_eip_provider.bootstrap_action.bundle import Options, bootstrap_script
        from airflow_eip_provider.cli.session import lock_store_of

        checked_environment(options.environment)
        if options.wait >= _LIMIT:
            problem = f"{options.wait} is too long: EMR ends a cluster whose bootstrap actions take about an hour"
            remedy = "give less, such as 45m; for a longer wait, run 'airflow-eip associate' elsewhere, or use a DAG"
            raise UsageError("reading --wait", problem=problem, remedy=remedy)
        # Unlike other commands, it has no default from airflow.cfg: a script without a lock works on EMR 5 and 6.
        lock_store = None if options.lock_store is None else lock_store_of(options)
        with reading_arguments("--lock-store"):
            script = bootstrap_script(
                Options(
                    wait_seconds=int(options.wait.total_seconds()),
                    goes_on=options.when_busy == "continue",
                    lock_store=lock_store,
                    environment=options.environment,
                )
            )
    print_document(script, options.output, json_key="script" if options.json else "")
    return OK


COMMAND = Command(
    "bootstrap-script",
    "generate a bootstrap action for clusters launched elsewhere",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
)
