"""For tests: environment variables for clients, and private subnets of the default VPC."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_emr.server import LocalAws

ANYWHERE = "0.0.0.0/0"


def client_environment(aws: LocalAws) -> dict[str, str]:
    """
    Return environment variables with which clients find a server, without any of this machine's.

    They have the endpoint and credentials for AWS clients, and a managed identity for azure-identity.
    """
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "IDENTITY_ENDPOINT": f"{aws.endpoint_url}/_local/azure/token",
        "IDENTITY_HEADER": "local",
    }


@dataclass(frozen=True)
class PrivateSubnet:
    """A subnet whose instances get no public address, and its route table, which has no default route."""

    subnet_id: str
    route_table_id: str


def private_subnet(ec2: Any) -> PrivateSubnet:
    """Add a private subnet to the default VPC, which has an internet gateway and public subnets."""
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    own = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    taken = [ip_network(subnet["CidrBlock"]) for subnet in ec2.describe_subnets(Filters=own)["Subnets"]]
    blocks = ip_network(vpc["CidrBlock"]).subnets(new_prefix=24)
    free = next(block for block in blocks if not any(block.overlaps(other) for other in taken))
    subnet_id = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock=str(free))["Subnet"]["SubnetId"]
    table_id = ec2.create_route_table(VpcId=vpc["VpcId"])["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)
    return PrivateSubnet(subnet_id, table_id)


def default_route(ec2: Any, route_table_id: str) -> dict[str, Any] | None:
    """Return a route table's default route as EC2 describes it."""
    table = ec2.describe_route_tables(RouteTableIds=[route_table_id])["RouteTables"][0]
    return next((route for route in table["Routes"] if route.get("DestinationCidrBlock") == ANYWHERE), None)
