"""Reads of the network of a cluster, with one call of each kind."""

from __future__ import annotations

from airflow_eip_provider.aws.network import read_named_security_groups, read_security_groups, read_subnets


def table(table_id: str, *subnet_ids: str, main: bool = False, vpc_id: str = "vpc-1") -> dict:
    links = [{"SubnetId": subnet_id, "Main": False} for subnet_id in subnet_ids] or [{"Main": main}]
    return {"RouteTableId": table_id, "VpcId": vpc_id, "Routes": [], "Associations": links}


def filters(**values: list[str]) -> dict:
    return {"Filters": [{"Name": name.replace("_", "-"), "Values": given} for name, given in values.items()]}


def test_subnets_have_their_own_route_table_or_the_main_one_of_their_vpc_on_whichever_page(stubbed):
    subnets = [{"SubnetId": f"subnet-{n}", "VpcId": f"vpc-{vpc}"} for n, vpc in ((1, 1), (2, 1), (3, 2))]
    first = {"RouteTables": [table("rtb-own", "subnet-1"), table("rtb-1", main=True)], "NextToken": "more"}
    second = {"RouteTables": [table("rtb-other"), table("rtb-2", main=True, vpc_id="vpc-2")]}
    asked = filters(vpc_id=["vpc-1", "vpc-2"])
    ec2 = stubbed(
        "ec2",
        ("describe_subnets", {"Subnets": subnets}, filters(subnet_id=["subnet-1", "subnet-2", "subnet-3", "subnet-4"])),
        ("describe_route_tables", first, asked),
        ("describe_route_tables", second, {**asked, "NextToken": "more"}),
    )
    found = read_subnets(ec2, ["subnet-1", "subnet-2", "subnet-3", "subnet-4"])
    tables = {name: subnet.table.table_id for name, subnet in found.items() if subnet.table}
    assert tables == {"subnet-1": "rtb-own", "subnet-2": "rtb-1", "subnet-3": "rtb-2"}


def test_security_groups_are_read_by_their_ids_or_their_names_and_nothing_is_asked_for_none(stubbed):
    group = {"GroupId": "sg-1", "GroupName": "one", "VpcId": "vpc-1"}
    ec2 = stubbed(
        "ec2",
        ("describe_security_groups", {"SecurityGroups": [group]}, filters(group_id=["sg-1", "sg-2"])),
        ("describe_security_groups", {"SecurityGroups": [group]}, filters(group_name=["one"], vpc_id=["vpc-1"])),
    )
    assert list(read_security_groups(ec2, ["sg-1", "sg-2"])) == ["sg-1"]
    assert [named.group_id for named in read_named_security_groups(ec2, ["one"], vpc_ids=["vpc-1"])] == ["sg-1"]
    assert read_security_groups(ec2, []) == {}
    assert read_named_security_groups(ec2, ["one"], vpc_ids=[]) == []
    assert read_subnets(ec2, []) == {}
