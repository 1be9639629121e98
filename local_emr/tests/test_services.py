"""The services of a primary node, at the private address that EC2 and EMR tell."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from local_emr.services.loopback import LoopbackNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

YARN = ":8088/ws/v1/cluster/info"
HDFS = ":9870/jmx"
LIVY = ":8998/batches"
WAIT = 0.3
READY = 300


@pytest.fixture
def cluster(local_emr: LocalAws, start_cluster: Callable[..., str]) -> str:
    """A cluster with Livy that waits for work."""
    job_flow_id = start_cluster(Applications=[{"Name": "Spark"}, {"Name": "Livy"}])
    local_emr.clock.advance(READY)
    return job_flow_id


@pytest.fixture
def address_of(emr: Any) -> Callable[[str], str]:
    def find(job_flow_id: str) -> str:
        (node,) = emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])["Instances"]
        return str(node["PrivateIpAddress"])

    return find


def get(address: str, path: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://{address}{path}", timeout=5)


def connects(address: str, port: int) -> bool:
    """Whether a connection is accepted; a TimeoutError means that nothing comes back."""
    try:
        socket.create_connection((address, port), timeout=WAIT).close()
    except ConnectionRefusedError:
        return False
    return True


def test_ec2_and_emr_tell_an_address_that_is_reached_on_this_machine(cluster, address_of, ec2, local_emr):
    address = address_of(cluster)
    (reservation,) = ec2.describe_instances(Filters=[{"Name": "private-ip-address", "Values": [address]}])[
        "Reservations"
    ]
    (instance,) = reservation["Instances"]
    assert instance["InstanceId"] == local_emr.cluster(cluster).primary.id
    (interface,) = instance["NetworkInterfaces"]
    assert (interface["PrivateIpAddress"], interface["PrivateIpAddresses"][0]["PrivateIpAddress"]) == (address, address)
    assert connects(address, 8998)


def test_an_elastic_ip_is_associated_with_that_private_address(cluster, address_of, ec2, local_emr, allocation_id):
    ec2.associate_address(AllocationId=allocation_id, InstanceId=local_emr.cluster(cluster).primary.id)
    (address,) = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"]
    assert address["PrivateIpAddress"] == address_of(cluster)


def test_yarn_has_started_and_hdfs_is_not_in_safe_mode(cluster, address_of):
    address = address_of(cluster)
    assert get(address, YARN).json()["clusterInfo"]["state"] == "STARTED"
    beans = {bean["name"].rpartition("=")[2]: bean for bean in get(address, HDFS).json()["beans"]}
    assert beans["NameNodeInfo"]["Safemode"] == ""
    assert beans["FSNamesystemState"]["FSState"] == "Operational"
    query = f"{HDFS}?qry=Hadoop:service=NameNode,name=NameNodeInfo"
    assert [bean["Safemode"] for bean in get(address, query).json()["beans"]] == [""]
    assert get(address, ":9870/nothing").status_code == 404


def test_nothing_is_served_before_the_cluster_is_ready_nor_after_its_end(local_emr, emr, start_cluster, address_of):
    job_flow_id = start_cluster()
    local_emr.clock.advance(60)
    assert not connects(address_of(job_flow_id), 8088)
    local_emr.clock.advance(READY)
    assert connects(address_of(job_flow_id), 8088)
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    assert not connects(address_of(job_flow_id), 8088)


def test_livy_is_there_when_it_is_among_the_applications(cluster, local_emr, start_cluster, address_of):
    without = start_cluster()
    local_emr.clock.advance(READY)
    assert get(address_of(cluster), LIVY).json() == {"from": 0, "total": 0, "sessions": []}
    assert not connects(address_of(without), 8998)


def test_two_primaries_have_an_address_each(cluster, local_emr, start_cluster, address_of):
    other = start_cluster()
    local_emr.clock.advance(READY)
    assert address_of(other) != address_of(cluster)
    ids = {get(address_of(each), YARN).json()["clusterInfo"]["id"] for each in (cluster, other)}
    assert len(ids) == 2


def test_two_local_emrs_on_one_machine_have_a_network_each():
    first, second = LoopbackNetwork(), LoopbackNetwork()
    try:
        one, other = first.take(), second.take()
        assert not first.has(other)
        assert first.has(one)
        assert first.take() != one
    finally:
        first.close()
        second.close()


def test_a_service_that_hangs_accepts_and_never_answers(cluster, local_emr, address_of):
    address = address_of(cluster)
    local_emr.trouble_service(cluster, "yarn", "hangs")
    with socket.create_connection((address, 8088), timeout=WAIT) as connection:
        connection.sendall(b"GET /ws/v1/cluster/info HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        local_emr.mend_service(cluster, "yarn")
        connection.settimeout(5)
        assert connection.recv(9) == b"HTTP/1.1 "
    assert get(address, HDFS).ok


@pytest.mark.parametrize("service", ["yarn", "hdfs", "livy"])
def test_a_service_that_errs_answers_500(cluster, local_emr, address_of, service):
    path = {"yarn": YARN, "hdfs": HDFS, "livy": LIVY}[service]
    local_emr.trouble_service(cluster, service, "errors")
    assert get(address_of(cluster), path).status_code == 500
    local_emr.mend_service(cluster, service)
    assert get(address_of(cluster), path).status_code == 200


def test_a_service_without_a_process_refuses_connections(cluster, local_emr, address_of):
    local_emr.trouble_service(cluster, "livy", "refuses")
    assert not connects(address_of(cluster), 8998)
    local_emr.mend_service(cluster, "livy")
    assert connects(address_of(cluster), 8998)


def test_hdfs_can_be_in_safe_mode(cluster, local_emr, address_of):
    local_emr.trouble_service(cluster, "hdfs", "safe-mode")
    beans = {bean["name"].rpartition("=")[2]: bean for bean in get(address_of(cluster), HDFS).json()["beans"]}
    assert beans["NameNodeInfo"]["Safemode"].startswith("Safe mode is ON.")
    assert beans["FSNamesystemState"]["FSState"] == "safeMode"


def test_wrong_troubles_are_refused(cluster, local_emr):
    for service, trouble in (("hive", "hangs"), ("yarn", "safe-mode"), ("yarn", "sleeps")):
        with pytest.raises(ValueError, match=f"'{service}'"):
            local_emr.trouble_service(cluster, service, trouble)
    with pytest.raises(ValueError, match="j-none"):
        local_emr.trouble_service("j-none", "yarn", "hangs")


def test_a_primary_that_is_gone_answers_nothing_and_emr_may_notice_later(cluster, local_emr, address_of, state_of):
    address = address_of(cluster)
    local_emr.lose_primary(cluster, emr_notices_after=120)
    with pytest.raises(TimeoutError):
        connects(address, 8998)
    assert state_of(cluster) == "WAITING"
    local_emr.clock.advance(121)
    assert state_of(cluster) == "TERMINATING"
    local_emr.clock.advance(600)
    assert not connects(address, 8998), "the address is free again"


def test_an_instance_that_its_user_terminates_answers_nothing_either(cluster, local_emr, address_of, ec2):
    address = address_of(cluster)
    ec2.terminate_instances(InstanceIds=[local_emr.cluster(cluster).primary.id])
    with pytest.raises(TimeoutError):
        connects(address, 8088)


def test_a_zone_that_is_cut_off_answers_nothing_until_it_is_restored(
    cluster, local_emr, address_of, state_of, primary_of
):
    address, zone = address_of(cluster), primary_of(cluster).availability_zone
    instance_id = primary_of(cluster).id
    assert local_emr.ec2(local_emr.region).public_ip(instance_id)
    local_emr.cut_zone(zone)
    for port in (8088, 9870, 8998):
        with pytest.raises(TimeoutError):
            connects(address, port)
    assert local_emr.ec2(local_emr.region).public_ip(instance_id) is None, "nothing gets out, either"
    assert state_of(cluster) == "WAITING"
    local_emr.restore_zone(zone)
    assert get(address, YARN).ok


def test_a_primary_that_is_replaced_serves_at_another_address(cluster, local_emr, address_of):
    before = address_of(cluster)
    local_emr.replace_primary(cluster)
    local_emr.clock.advance(60)
    assert address_of(cluster) != before
    assert get(address_of(cluster), LIVY).ok
    assert not connects(before, 8998)


def test_requests_and_changes_of_ports_are_in_the_event_log(cluster, local_emr, address_of):
    address = address_of(cluster)
    get(address, YARN)
    local_emr.trouble_service(cluster, "yarn", "hangs")
    (request,) = local_emr.events.read(kind="http")
    assert (request["service"], request["path"], request["status"]) == ("yarn", "/ws/v1/cluster/info", 200)
    states = [event["state"] for event in local_emr.events.read(kind="service") if event["service"] == "yarn"]
    assert states == ["open", "hangs"]


def test_a_reset_leaves_no_port_behind(cluster, local_emr, address_of):
    address = address_of(cluster)
    with socket.create_connection((address, 8088), timeout=WAIT):
        local_emr.reset()
        time.sleep(0)
    assert not connects(address, 8088)


def test_troubles_can_be_made_over_http(cluster, local_emr, address_of):
    def post(path: str, **body: Any) -> int:
        return requests.post(f"{local_emr.endpoint_url}/_local/{path}", json=body, timeout=5).status_code

    assert post("services/trouble", job_flow_id=cluster, service="yarn", trouble="errors") == 200
    assert get(address_of(cluster), YARN).status_code == 500
    assert post("services/mend", job_flow_id=cluster, service="yarn") == 200
    assert get(address_of(cluster), YARN).status_code == 200
    assert post("services/trouble", job_flow_id=cluster, service="yarn", trouble="sleeps") == 400
    assert post("zones/cut", zone="eu-west-1a") == 200
    assert post("clusters/lose-primary", job_flow_id=cluster, emr_notices_after=5) == 200
    assert post("livy/end-batch", job_flow_id=cluster, batch=0) == 400
