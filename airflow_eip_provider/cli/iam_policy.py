"""``airflow-eip iam-policy``: print the IAM policy for the role of Airflow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_eip_provider.cli.arguments import (
    add_aws_arguments,
    add_list,
    add_lock_store_argument,
    add_pool_arguments,
    named_addresses,
    reading_arguments,
)
from airflow_eip_provider.cli.command import OK, Command, Parser
from airflow_eip_provider.cli.output import only_the_result, print_json

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Print the IAM policy for the role that Airflow uses, such as the execution role of Amazon MWAA. It allows exactly the
calls that this package makes for the given Elastic IPs, lock store and clusters. The command changes nothing in AWS,
and with --account and --region it does not call AWS at all.

With --tag, the policy names the tag instead of the addresses, so it also covers addresses that get the tag later. Only
the EC2 calls that move an address can be restricted by tag. Access to lease records and clusters is then allowed for
all addresses in this lock store and account. To restrict it, name the addresses with --allocation-id.

Not included: the permissions for a customer managed KMS key that encrypts the bucket or table. For a cluster that was
launched elsewhere, the policy allows adding steps and terminating it if the cluster has the tag
airflow-eip:allocation-id with the allocation ID as its value."""

EXAMPLES = r"""
# Everything that one address needs, without calling AWS
airflow-eip iam-policy --allocation-id eipalloc-0123456789abcdef0 \
    --service-role arn:aws:iam::123456789012:role/EMR_DefaultRole \
    --instance-role arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole \
    --lock-store dynamodb://leases --account 123456789012 --region eu-west-1
# All addresses with a tag, including those that get it later
airflow-eip iam-policy --tag purpose=azure-sql \
    --service-role arn:aws:iam::123456789012:role/EMR_DefaultRole \
    --instance-role arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole \
    --lock-store dynamodb://leases --account 123456789012 --region eu-west-1"""

_REQUIRED_ROLES = {
    "--service-role": "the ServiceRole of clusters",
    "--instance-role": "the role in the instance profile of clusters, JobFlowRole",
}
_ROLES = {
    "--autoscaling-role": "the AutoScalingRole of clusters",
    "--execution-role": "a runtime role that steps may use (default: any)",
}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_pool_arguments(parser)
    parser.add_argument(
        "--binding",
        default="primary",
        choices=["primary", "nat-gateway"],
        help="what an address is associated with: the primary node (default), or a NAT gateway",
    )
    add_list(
        parser,
        "--public-subnet",
        "ID",
        "a subnet in which NAT gateways are created for clusters (default: the addresses are on existing NAT gateways)",
        alias="--public-subnet-id",
    )
    add_list(
        parser,
        "--route-table",
        "ID",
        "a route table of the clusters' subnets, to which those gateways add a route",
        alias="--route-table-id",
    )
    for flag, text in _REQUIRED_ROLES.items():
        add_list(parser, flag, "ARN", text, required=True)
    for flag, text in _ROLES.items():
        add_list(parser, flag, "ARN", text)
    parser.add_argument(
        "--health", action="store_true", help="allow what EmrPrimaryHealthSensor and EmrFailoverOperator need"
    )
    parser.add_argument(
        "--drill",
        action="store_true",
        help="allow what 'airflow-eip drill' needs: to terminate primary nodes, and to read the vCPU quota",
    )
    add_list(parser, "--target-group", "ARN", "a target group in which NlbTargetsOperator registers primary nodes")
    add_lock_store_argument(parser)
    parser.add_argument("--log-uri", metavar="URI", help="the LogUri of clusters, to read the logs of failed steps")
    parser.add_argument("--account", metavar="NUMBER", help="the AWS account (default: that of the connection)")
    add_aws_arguments(parser)
    parser.add_argument("--json", action="store_true", help="no effect: the policy is always JSON")


def run(options: argparse.Namespace) -> int:
    """Print the policy."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.iam_policy import Configuration, check, policy_document

        addresses = named_addresses(options)
        configuration = Configuration(
            allocation_ids=list(addresses.allocation_ids),
            address_tags=addresses.tags,
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
            check(configuration)
        if not (options.account and options.region):
            session = open_session(options)
            account = options.account or session.account
            configuration = replace(configuration, account=account, region=session.region)
        document = policy_document(configuration)
    print_json(document)
    return OK


COMMAND = Command(
    "iam-policy",
    "print the IAM policy for the role of Airflow",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
)
