"""The doctor page shows the real output for a deliberately broken account."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from airflow_eip_provider.cli.__main__ import main

PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"
# The page's own ids; they are as long as AWS's, so that lines break where they do there.
ADDRESS, PRIVATE, PUBLIC, GROUP, STRANGER, ASSOCIATION = (
    "eipalloc-0a1b2c3d4e5f60718",
    "subnet-0123456789abcdef0",
    "subnet-0fedcba9876543210",
    "sg-0aa11bb22cc33dd44",
    "i-05f6a7b8c9d0e1f23",
    "eipassoc-0d1e2f3a4b5c6d7e8",
)
NEIGHBOUR, FORGOTTEN = "subnet-0a1a2a3a4a5a6a7a8", "subnet-0b1b2b3b4b5b6b7b8"
TABLE, MAIN_TABLE, FORGOTTEN_TABLE = "rtb-0c1c2c3c4c5c6c7c8", "rtb-0d1d2d3d4d5d6d7d8", "rtb-0e1e2e3e4e5e6e7e8"


@pytest.fixture
def many_errors(clocked: Any, ec2: Any) -> dict[str, str]:
    """Make an account with many errors; return its IDs by those of the page."""
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    stranger = clocked.steal(allocation_id)
    association = ec2.describe_addresses()["Addresses"][0]["AssociationId"]
    clocked.deny("AssociateAddress")
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    private, public = (
        ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.9.{k}.0/24")["Subnet"]["SubnetId"] for k in (1, 2)
    )
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    table = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=public)
    group = ec2.create_security_group(GroupName="emr-primary", Description="x", VpcId=vpc_id)["GroupId"]
    for port in (22, 8088):
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    return {
        ADDRESS: allocation_id,
        PRIVATE: private,
        PUBLIC: public,
        GROUP: group,
        STRANGER: stranger,
        ASSOCIATION: association,
    }


@pytest.fixture
def wrong_network(clocked: Any, ec2: Any) -> dict[str, str]:
    """Make a network that does not fit a NAT gateway; return its IDs by those of the page."""
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    clocked.deny("CreateNatGateway")
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    public, private, neighbour, forgotten = (
        ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.9.{k}.0/24")["Subnet"]["SubnetId"] for k in range(4)
    )
    (main,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
    table, other = (ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"] for _ in range(2))
    for subnet, its in ((private, table), (neighbour, table), (forgotten, other)):
        ec2.associate_route_table(RouteTableId=its, SubnetId=subnet)
    return {
        ADDRESS: allocation_id,
        PUBLIC: public,
        PRIVATE: private,
        NEIGHBOUR: neighbour,
        FORGOTTEN: forgotten,
        TABLE: table,
        MAIN_TABLE: main["RouteTableId"],
        FORGOTTEN_TABLE: other,
    }


@pytest.mark.parametrize(
    ("heading", "account"),
    [("An account with many errors", "many_errors"), ("A network that does not fit a NAT gateway", "wrong_network")],
)
def test_the_output_on_the_page_is_what_the_command_prints(heading, account, request, capsys, monkeypatch, tmp_path):
    broken = request.getfixturevalue(account)
    (section,) = [part for part in PAGE.read_text().split("\n## ") if part.startswith(heading)]
    (cluster,) = re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL)
    ((command, shown),) = re.findall(r"\$ airflow-eip (doctor.*?)\n\n(.*?)```", section, flags=re.DOTALL)
    for ours, theirs in broken.items():
        cluster, command = cluster.replace(ours, theirs), command.replace(ours, theirs)
    monkeypatch.chdir(tmp_path)
    Path("cluster.json").write_text(cluster)
    assert json.loads(cluster)
    capsys.readouterr()  # what was logged while the account was made
    status = main(shlex.split(command.replace("\\\n", " ")))
    said = capsys.readouterr()
    # Lines that Airflow logs are not part of the output.
    where, *notes = (line for line in said.err.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line))
    lines = [where, "", *said.out.splitlines(), "", *notes]
    printed = "".join(f"{line.rstrip()}\n" for line in lines)
    for ours, theirs in broken.items():
        printed = printed.replace(theirs, ours)
    assert status == 3
    assert printed == shown
