"""``airflow-eip iam-policy``: print what the role of Airflow must be allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.address import add_pool_arguments, named_addresses
from airflow_eip_provider.cli.command import OK, Command, Parser, add_aws_arguments, add_lock_store_argument
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.cli.usage import reading_arguments

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Print the IAM policy for the role that Airflow works with, such as the execution role of Amazon MWAA: what this package
calls for these Elastic IPs, lock store and clusters, and no more. AWS is not changed; with --account and --region it is
not even asked.

With --tag the policy names the tag, not the addresses: it stays right when an address gets the tag, and AWS is not
asked. Only the EC2 calls that move an address can be limited so. Records and clusters are known by the id of their
address alone, so those of all addresses are allowed, in this lock store and account; who wants them limited names the
addresses with --allocation-id.

A bucket or table that is encrypted with a key of your own needs the permissions of that key besides. A cluster that was
made elsewhere can be given steps, and be ended, when it carries the tag airflow-eip:allocation-id with the address."""

EXAMPLES = r"""
# all that one address needs, without asking AWS
airflow-eip iam-policy --allocation-id eipalloc-0123456789abcdef0 \
    --service-role arn:aws:iam::123456789012:role/EMR_DefaultRole \
    --instance-role arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole \
    --lock-store dynamodb://leases --account 123456789012 --region eu-west-1
# all addresses with a tag, also those that get it later
airflow-eip iam-policy --tag purpose=azure-sql \
    --service-role arn:aws:iam::123456789012:role/EMR_DefaultRole \
    --instance-role arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole \
    --lock-store dynamodb://leases --account 123456789012 --region eu-west-1"""

_ROLES = {
    "--service-role": "a role that clusters give to EMR, ServiceRole",
    "--instance-role": "the role in the instance profile of clusters, JobFlowRole",
    "--autoscaling-role": "a role for automatic scaling, AutoScalingRole",
    "--execution-role": "a runtime role that steps may name; without any they may name every one",
}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    again = "; may be given again"
    add_pool_arguments(parser)
    parser.add_argument(
        "--binding",
        default="primary",
        choices=["primary", "nat-gateway"],
        help="where an address is put: the primary node (default), or a NAT gateway",
    )
    parser.add_argument(
        "--public-subnet",
        action="append",
        default=[],
        metavar="ID",
        help=f"where NAT gateways are made for clusters; none: each address has a gateway of its own for good{again}",
    )
    parser.add_argument(
        "--route-table",
        action="append",
        default=[],
        metavar="ID",
        help=f"a route table of the clusters' subnets, which is led to those gateways{again}",
    )
    for flag, what in _ROLES.items():
        required = flag in {"--service-role", "--instance-role"}
        parser.add_argument(
            flag, action="append", default=None if required else [], required=required, metavar="ARN", help=what + again
        )
    parser.add_argument(
        "--health",
        action="store_true",
        help="the health of primary nodes is watched, by EmrPrimaryHealthSensor or EmrFailoverOperator",
    )
    parser.add_argument(
        "--drill",
        action="store_true",
        help="airflow-eip drill stops primary nodes on purpose, and looks at the vCPU quota",
    )
    parser.add_argument(
        "--target-group",
        action="append",
        default=[],
        metavar="ARN",
        help=f"a target group in which NlbTargetsOperator registers primary nodes{again}",
    )
    add_lock_store_argument(parser)
    parser.add_argument("--log-uri", metavar="URI", help="LogUri of the clusters, from which failed steps are shown")
    parser.add_argument("--account", metavar="NUMBER", help="the AWS account (default: the connection's)")
    add_aws_arguments(parser)
    parser.add_argument("--json", action="store_true", help="as without it: the policy is JSON")


def run(options: argparse.Namespace) -> int:
    """Print the document."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.iam_policy import Configuration, check, policy_document

        named = named_addresses(options)
        given = Configuration(
            allocation_ids=list(named.allocation_ids),
            address_tags=named.tags,
            region=options.region or "",
            account=options.account or "",
            service_roles=options.service_role,
            instance_roles=options.instance_role,
            autoscaling_roles=options.autoscaling_role,
            execution_roles=options.execution_role,
            lock_store=lock_store_of(options),
            log_uri=options.log_uri,
            binding=options.binding,
            public_subnets=options.public_subnet,
            route_tables=options.route_table,
            health=options.health,
            target_groups=options.target_group,
            drill=options.drill,
        )
        with reading_arguments():
            check(given)
        if not (given.account and given.region):
            session = open_session(options)
            note(session)
            given = replace(given, account=given.account or session.account, region=session.region)
        document = policy_document(given)
    print_json(document)
    return OK


COMMAND = Command(
    "iam-policy",
    "print the IAM policy for the role of Airflow",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "printed",
    },
)
