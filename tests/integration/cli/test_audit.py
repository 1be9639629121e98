"""``airflow-eip audit`` on flow logs in the format of AWS, with leases of real runs."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.emr import EmrTerminateWithStaticIpOperator
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cli.results import Said

ACCOUNT, DATABASE = "123456789012", "203.0.113.10"
FIELDS = (
    "version account-id interface-id instance-id srcaddr dstaddr srcport dstport pkt-srcaddr pkt-dstaddr protocol "
    "packets bytes start end action tcp-flags flow-direction log-status"
)
PLAIN = "AWSLogs/123456789012/vpcflowlogs/eu-west-1/{at:%Y/%m/%d}/"
HOURLY = PLAIN + "{at:%H}/"
HIVE = (
    "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/"
    "year={at:%Y}/month={at:%m}/day={at:%d}/hour={at:%H}/"
)


class Logs:
    """Flow logs in a bucket."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self._lines: list[str] = []
        s3.create_bucket(Bucket="flow-logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def flow(self, node: dict[str, str], at: float, **given: Any) -> None:
        """
        Note what a node sends to the database in the minute from a time on, and the answer.

        :param hop: where the interface's own part of the way ends, if that is not the database.
        """
        to, port = given.get("to", DATABASE), given.get("port", 1433)
        hop = given.get("hop", to)
        flags, action = given.get("flags", 3), given.get("action", "ACCEPT")
        who = f"5 {ACCOUNT} {node['interface']} {node['instance']}"
        when = f"{int(at)} {int(at) + 59} {action}"
        out = f"{node['ip']} {hop} 49152 {port} {node['ip']} {to} 6 20 4249"
        back = f"{hop} {node['ip']} {port} 49152 {to} {node['ip']} 6 18 4100"
        self._lines += [f"{who} {out} {when} {flags} egress OK", f"{who} {back} {when} 19 ingress OK"]

    def write(self, at: float, *, where: str = PLAIN, prefix: str = "", fields: str = FIELDS, name: str = "") -> None:
        """Publish the noted records as one file, as the service does some minutes later."""
        end = datetime.fromtimestamp(at + 300, UTC)
        name = name or f"{ACCOUNT}_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_{end:%Y%m%dT%H%MZ}_1a2b3c4d.log.gz"
        nothing = f"5 {ACCOUNT} eni-00000000000000001 - - - - - - - - - - {int(at)} {int(at) + 59} - - - NODATA"
        body = "\n".join([fields, nothing, *self._lines, ""])
        key = prefix + where.format(at=end) + name
        self._s3.put_object(Bucket="flow-logs", Key=key, Body=gzip.compress(body.encode()))
        self._lines = []

    def skip(self, at: float) -> None:
        """Add a record of an incomplete capture."""
        self._lines.append(f"5 {ACCOUNT} eni-1 - - - - - - - - - - {int(at)} {int(at) + 59} - - - SKIPDATA")


@pytest.fixture
def logs(s3: Any, clocked: Any) -> Logs:
    return Logs(s3)


@pytest.fixture
def audit(allocation_id: str, run: Callable[..., Said]) -> Callable[..., Said]:
    """Run ``audit`` for the address and the database."""

    def audit(*arguments: str, as_json: bool = True, database: str = DATABASE, uri: str = "s3://flow-logs") -> Said:
        given = ["audit", "--allocation-id", allocation_id, "--logs", uri, "--database", database]
        return run(*given, *arguments, *(["--json"] if as_json else []))

    return audit


@pytest.fixture
def lease_period(left: Any, lock_store: str, clocked: Any, ec2: Any, emr: Any) -> Callable[..., dict[str, Any]]:
    """Run a job with a lease; return its primary node, its other nodes and a time in between."""

    def live(dag_id: str = "daily", *, over: bool = True, **more: Any) -> dict[str, Any]:
        job_flow_id = left("production", dag_id=dag_id, age=600, lock_store=lock_store, **more)
        nodes = [node_of(ec2, i["Ec2InstanceId"]) for i in emr.list_instances(ClusterId=job_flow_id)["Instances"]]
        at = clocked.clock.now().timestamp()
        clocked.clock.advance(600)
        if over:
            allocation_id = ec2.describe_addresses()["Addresses"][0]["AllocationId"]
            given = {"allocation_id": allocation_id, "job_flow_id": job_flow_id, "lock_store": lock_store}
            Task(EmrTerminateWithStaticIpOperator(task_id="end", aws_conn_id=None, **given), dag_id="end").run()
            clocked.clock.advance(7200)
        return {"cluster": job_flow_id, "primary": nodes[0], "others": nodes[1:], "at": at}

    return live


def node_of(ec2: Any, instance_id: str) -> dict[str, str]:
    (instance,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    interface = instance["NetworkInterfaces"][0]["NetworkInterfaceId"]
    return {"instance": instance_id, "interface": interface, "ip": instance["PrivateIpAddress"]}


STRANGER = {"instance": "i-0123456789abcdef0", "interface": "eni-0123456789abcdef0", "ip": "172.31.99.9"}
ONE_STORE = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


@pytest.mark.parametrize("lock_store", ["dynamodb", "s3"], indirect=True)
def test_connections_of_a_session_are_proved_though_its_cluster_is_gone(audit, logs, lease_period, lock_store):
    lived = lease_period()
    for k, flags in enumerate((2, 0, 1)):  # opened, went on, closed
        logs.flow(lived["primary"], lived["at"] + 60 * k, flags=flags)
    logs.write(lived["at"])
    said = audit("--lock-store", lock_store)
    (made,) = said.result["connections"]
    assert said.status == 0
    assert made["verdict"] == "tenancy"
    assert made["interface_id"] == lived["primary"]["interface"]
    assert made["instance_id"] == lived["primary"]["instance"]
    assert made["tenancy"] == f"production/daily/run-1/create/-1 on {lived['cluster']}"
    assert (made["records"], made["opened"], made["rejected"]) == (3, 1, 0)
    assert said.result["files"] == 1


@ONE_STORE
def test_strangers_are_distinguished_from_the_lease_with_a_reason_each(
    audit, logs, lease_period, lock_store, overrides
):
    first = lease_period("first")
    workers = {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    overrides["Instances"]["InstanceGroups"].append(workers)
    second = lease_period("second", on_multi_node="allow")
    at = second["at"]
    logs.flow(second["primary"], at)
    logs.flow(second["others"][0], at)
    logs.flow(first["primary"], at)
    logs.flow(STRANGER, at, action="REJECT")
    logs.write(at)
    said = audit("--lock-store", lock_store)
    why = {made["instance_id"]: (made["verdict"], made["why"]) for made in said.result["connections"]}
    assert said.status == 3
    assert why[second["primary"]["instance"]][0] == "tenancy"
    assert why[second["others"][0]["instance"]] == ("stranger", "a node of the same cluster, without the address")
    assert why[STRANGER["instance"]] == ("stranger", "not in the cluster of any lease")
    verdict, reason = why[first["primary"]["instance"]]
    assert verdict == "stranger"
    assert reason.startswith("its lease was from ")
    assert [made["verdict"] for made in said.result["connections"]] == ["stranger"] * 3 + ["tenancy"]
    assert next(m for m in said.result["connections"] if m["instance_id"] == STRANGER["instance"])["rejected"] == 1


@ONE_STORE
def test_an_older_session_and_a_time_are_asked_for(audit, logs, lease_period, lock_store):
    lived = [lease_period("first"), lease_period("second", over=False)]
    for one in lived:
        logs.flow(one["primary"], one["at"])
        logs.write(one["at"])
    for token, one in enumerate(lived, 1):
        (made,) = audit("--lock-store", lock_store, "--tenancy", str(token)).result["connections"]
        assert made["instance_id"] == one["primary"]["instance"]
        assert made["token"] == token
    begin, end = (datetime.fromtimestamp(one["at"], UTC).isoformat() for one in lived)
    said = audit("--lock-store", lock_store, "--from", begin, "--to", end)
    assert [made["verdict"] for made in said.result["connections"]] == ["tenancy", "tenancy"]
    assert audit("--lock-store", lock_store, "--lease", "7").status == 1


@ONE_STORE
@pytest.mark.parametrize(("where", "prefix"), [(PLAIN, ""), (HOURLY, "vpc/prod/"), (HIVE, "vpc/")])
def test_files_are_found_wherever_the_service_puts_them(audit, logs, lease_period, lock_store, where, prefix):
    lived = lease_period()
    logs.flow(lived["primary"], lived["at"])
    logs.write(lived["at"], where=where, prefix=prefix)
    said = audit("--lock-store", lock_store, uri=f"s3://flow-logs/{prefix}".rstrip("/"))
    assert [made["verdict"] for made in said.result["connections"]] == ["tenancy"]


@ONE_STORE
def test_only_the_database_counts_its_redirect_ports_too(audit, logs, lease_period, lock_store):
    lived = lease_period()
    for port in (11000, 11999):
        logs.flow(lived["primary"], lived["at"], port=port)
    for elsewhere in ({"port": 443}, {"port": 12000}, {"to": "203.0.113.99"}, {"to": "2001:db8::1"}):
        logs.flow(lived["primary"], lived["at"], **elsewhere)
    logs.write(lived["at"])
    (made,) = audit("--lock-store", lock_store).result["connections"]
    assert (made["destination"], made["opened"]) == (DATABASE, 2)
    found = audit("--lock-store", lock_store, database="203.0.113.0/24:1433").result["connections"]
    assert {made["destination"] for made in found} == {DATABASE, "203.0.113.99"}


def test_without_a_lock_store_the_interface_that_has_the_address_now_is_the_session(audit, logs, left, ec2, clocked):
    left("production", age=600)
    (address,) = ec2.describe_addresses()["Addresses"]
    at = clocked.clock.now().timestamp()
    logs.flow(node_of(ec2, address["InstanceId"]), at)
    logs.flow(STRANGER, at)
    logs.write(at)
    begin = ["--from", datetime.fromtimestamp(at - 60, UTC).isoformat()]
    end = ["--to", datetime.fromtimestamp(at + 60, UTC).isoformat()]
    verdicts = {m["interface_id"]: m["verdict"] for m in audit(*begin, *end).result["connections"]}
    assert verdicts == {address["NetworkInterfaceId"]: "tenancy", STRANGER["interface"]: "stranger"}
    named = audit(*begin, *end, "--interface", STRANGER["interface"], "--interface", address["NetworkInterfaceId"])
    assert {m["verdict"] for m in named.result["connections"]} == {"tenancy"}


@ONE_STORE
def test_people_see_a_table_and_what_the_logs_do_not_contain(audit, logs, lease_period, lock_store):
    lived = lease_period()
    logs.flow(STRANGER, lived["at"])
    logs.skip(lived["at"])
    logs.write(lived["at"])
    said = audit("--lock-store", lock_store, as_json=False)
    header, row = said.out.splitlines()
    assert said.status == 3
    assert header.split()[:3] == ["VERDICT", "INTERFACE", "INSTANCE"]
    assert row.startswith(f"stranger  {STRANGER['interface']}  {STRANGER['instance']}  {STRANGER['ip']}")
    assert row.endswith("not in the cluster of any lease")
    assert "1 records say SKIPDATA" in said.err


@ONE_STORE
def test_no_logs_are_no_proof(audit, logs, lease_period, lock_store):
    lived = lease_period()
    said = audit("--lock-store", lock_store)
    assert said.status == 1
    assert "no flow log files" in said.err
    logs.write(lived["at"])
    said = audit("--lock-store", lock_store, as_json=False)
    assert said.status == 0
    assert "Nothing connected to the database" in said.err


@ONE_STORE
def test_formats_that_cannot_be_read_are_refused_by_name(audit, logs, lease_period, lock_store):
    at = lease_period()["at"]
    logs.write(at, fields="version account-id interface-id srcaddr dstaddr srcport dstport start end action")
    said = audit("--lock-store", lock_store)
    assert said.status == 1
    assert "no pkt-srcaddr, tcp-flags" in said.err
    end = datetime.fromtimestamp(at + 300, UTC)
    name = f"123456789012_vpcflowlogs_eu-west-1_fl-0123456789abcdef0_{end:%Y%m%dT%H%MZ}_1a2b3c4d.log.parquet"
    logs.write(at, prefix="parquet/", name=name)
    said = audit("--lock-store", lock_store, uri="s3://flow-logs/parquet")
    assert said.status == 1
    assert "Parquet" in said.err


@pytest.mark.parametrize(
    ("arguments", "in_message"),
    [
        (["--from", "2026-11-20", "--allocation-id", "foo"], "allocation_id 'foo'"),
        (["--from", "2026-11-20", "--logs", "/tmp"], "/tmp: it is not an S3 URI"),
        (["--from", "2026-11-20", "--database", "10.0.0.1:abc"], "'abc' is not a port"),
        (["--from", "2026-11-20", "--database", "10.0.0.1/99"], "reading --database '10.0.0.1/99'"),
        (["--from", "2026-11-20", "--to", "2026-11-19"], "the period ends before it begins"),
        ([], "auditing without a lock store: the period is not known"),
        (["--interface", "eni-1", "--lock-store", "dynamodb://leases"], "auditing with --interface: the period is not"),
    ],
)
def test_wrong_arguments_end_with_2_and_aws_is_not_asked(clocked, allocation_id, audit, arguments, in_message):
    said = audit(*arguments)
    assert (said.status, said.out) == (2, "")
    assert in_message in said.err
    assert clocked.events.calls("GetCallerIdentity") == []


def test_a_bucket_that_does_not_exist_is_named(audit, clocked):
    said = audit("--from", "2026-11-20", "--interface", "eni-1", uri="s3://nothing/vpc")
    assert said.status == 1
    assert "reading flow logs from s3://nothing/vpc: bucket 'nothing' does not exist; give the bucket" in said.err


@ONE_STORE
def test_of_several_addresses_whatever_had_one_of_them_had_the_right_to_connect(
    audit, logs, left, lock_store, clocked, ec2, emr, allocation_id
):
    second = str(ec2.allocate_address(Domain="vpc")["AllocationId"])
    ec2.create_tags(Resources=[allocation_id, second], Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    nodes = {}
    for name in (allocation_id, second):
        given = {"dag_id": name, "allocation_id": name, "lock_store": lock_store, "age": 600}
        job_flow_id = left("production", **given)
        (instance,) = emr.list_instances(ClusterId=job_flow_id)["Instances"]
        nodes[name] = node_of(ec2, instance["Ec2InstanceId"])
    at = clocked.clock.now().timestamp()
    for node in (*nodes.values(), STRANGER):
        logs.flow(node, at)
    clocked.clock.advance(600)
    logs.write(at)
    alone = audit("--lock-store", lock_store)
    assert alone.status == 3
    assert sorted(made["verdict"] for made in alone.result["connections"]) == ["stranger", "stranger", "tenancy"]
    said = audit("--tag", "purpose=azure-sql", "--lock-store", lock_store)
    assert said.status == 3
    found = {made["interface_id"]: (made["verdict"], made["tenancy"]) for made in said.result["connections"]}
    assert found.pop(STRANGER["interface"])[0] == "stranger"
    for name, node in nodes.items():
        verdict, period = found[node["interface"]]
        assert verdict == "tenancy"
        assert period.endswith(f" with {name}")


def test_without_a_lock_store_the_interfaces_that_have_the_addresses_now_may_connect(
    audit, logs, left, clocked, ec2, emr, allocation_id
):
    second = str(ec2.allocate_address(Domain="vpc")["AllocationId"])
    nodes = []
    for name in (allocation_id, second):
        job_flow_id = left("production", dag_id=name, allocation_id=name, lock_store=None, age=600)
        (instance,) = emr.list_instances(ClusterId=job_flow_id)["Instances"]
        nodes.append(node_of(ec2, instance["Ec2InstanceId"]))
    at = clocked.clock.now().timestamp()
    for node in nodes:
        logs.flow(node, at)
    clocked.clock.advance(600)
    logs.write(at)
    begin, end = (datetime.fromtimestamp(time, UTC).isoformat() for time in (at - 60, at + 600))
    assert audit("--from", begin, "--to", end).status == 3
    said = audit("--allocation-id", second, "--from", begin, "--to", end)
    assert [made["verdict"] for made in said.result["connections"]] == ["tenancy", "tenancy"]
    assert said.status == 0
