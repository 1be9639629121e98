"""Network Load Balancers that check their targets and forward connections."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from stage import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

APPLICATIONS = [{"Name": "Spark"}, {"Name": "Livy"}]
ZONES = ("eu-west-1a", "eu-west-1b")
REQUEST = b"GET /batches HTTP/1.1\r\nHost: livy\r\n\r\n"
INTERVAL, TIMEOUT, REGISTRATION = 10, 6, 20


@pytest.fixture
def elb(boto: Callable[..., Any]) -> Any:
    return boto("elbv2")


@pytest.fixture
def subnets(ec2: Any) -> dict[str, Any]:
    """Subnets of the default VPC, by zone."""
    return {subnet["AvailabilityZone"]: subnet for subnet in ec2.describe_subnets()["Subnets"]}


@pytest.fixture
def start_in(local_emr: LocalAws, start_cluster: Any, subnets: dict[str, Any]) -> Callable[[str], str]:
    def start(zone: str) -> str:
        subnet_id = subnets[zone]["SubnetId"]
        job_flow_id: str = start_cluster(Applications=APPLICATIONS, instances={"Ec2SubnetId": subnet_id})
        local_emr.clock.advance(300)
        return job_flow_id

    return start


@pytest.fixture
def make_group(elb: Any, subnets: dict[str, Any]) -> Callable[..., str]:
    def make(name: str = "livy", port: int = 8998, **options: Any) -> str:
        wanted = {
            "Protocol": "TCP",
            "Port": port,
            "VpcId": subnets[ZONES[0]]["VpcId"],
            "TargetType": "ip",
            "HealthCheckIntervalSeconds": INTERVAL,
            "HealthCheckTimeoutSeconds": TIMEOUT,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
            **options,
        }
        return str(elb.create_target_group(Name=name, **wanted)["TargetGroups"][0]["TargetGroupArn"])

    return make


@pytest.fixture
def make_balancer(elb: Any, subnets: dict[str, Any]) -> Callable[..., Any]:
    def make(group_arn: str, *, zones: tuple[str, ...] = ZONES, port: int = 8998) -> Any:
        wanted = {"Type": "network", "Scheme": "internal", "Subnets": [subnets[zone]["SubnetId"] for zone in zones]}
        (made,) = elb.create_load_balancer(Name="emr", **wanted)["LoadBalancers"]
        forward = [{"Type": "forward", "TargetGroupArn": group_arn}]
        elb.create_listener(LoadBalancerArn=made["LoadBalancerArn"], Protocol="TCP", Port=port, DefaultActions=forward)
        return made

    return make


class Stage:
    """Two clusters behind a load balancer."""

    def __init__(self, aws: LocalAws, elb: Any, group: str, balancer: Any, clusters: tuple[str, str]) -> None:
        self.aws, self.elb, self.group, self.balancer, self.clusters = aws, elb, group, balancer, clusters
        self.addresses = [aws.cluster(each).primary.private_ip_address for each in clusters]

    def register(self, *addresses: str) -> None:
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": each} for each in addresses])

    def health(self, address: str) -> tuple[str, str | None]:
        answer = self.elb.describe_target_health(TargetGroupArn=self.group, Targets=[{"Id": address}])
        (found,) = answer["TargetHealthDescriptions"]
        return found["TargetHealth"]["State"], found["TargetHealth"].get("Reason")

    def wait(self, checks: float) -> None:
        self.aws.clock.advance(checks * INTERVAL)

    def flows(self) -> list[tuple[str, bool]]:
        return [(event["target"], event["fails_open"]) for event in self.aws.events.read(kind="flow")]

    def connect(self) -> socket.socket:
        """Connect through the load balancer, and return when the target that it chose has accepted the connection."""
        flows, accepted = len(self.flows()), self._accepted()
        connection = socket.create_connection((self.balancer["DNSName"], 8998), timeout=30)
        wait_until(lambda: len(self.flows()) > flows and self._accepted() > accepted)
        return connection

    def _accepted(self) -> int:
        """Return how many connections the targets have accepted; they are in this process."""
        found = psutil.Process().net_connections("tcp")
        return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.ip in self.addresses for one in found)

    def ask(self) -> int:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://{self.balancer['DNSName']}:8998/batches", timeout=5).status_code


@pytest.fixture
def stage(local_emr: LocalAws, elb: Any, start_in: Any, make_group: Any, make_balancer: Any) -> Stage:
    clusters = (start_in(ZONES[0]), start_in(ZONES[1]))
    group = make_group()
    return Stage(local_emr, elb, group, make_balancer(group), clusters)


def test_a_target_is_initial_until_it_was_checked_often_enough(stage):
    first, _ = stage.addresses
    stage.register(first)
    assert stage.health(first) == ("initial", "Elb.RegistrationInProgress")
    stage.aws.clock.advance(REGISTRATION)
    assert stage.health(first) == ("initial", "Elb.InitialHealthChecking")
    stage.wait(1)
    assert stage.health(first) == ("healthy", None)


def test_a_target_that_nobody_listens_at_becomes_unhealthy(stage):
    stage.aws.trouble_service(stage.clusters[0], "livy", "refuses")
    stage.register(stage.addresses[0])
    stage.aws.clock.advance(REGISTRATION + INTERVAL)
    assert stage.health(stage.addresses[0]) == ("unhealthy", "Target.FailedHealthChecks")


def test_connections_go_to_the_healthy_targets_in_turn(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    assert [stage.ask() for _ in range(4)] == [200] * 4
    assert sorted(stage.flows()) == sorted([(address, False) for address in stage.addresses] * 2)


def test_a_target_that_fails_gets_no_connections_and_gets_them_again_when_it_is_well(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    stage.aws.trouble_service(stage.clusters[0], "livy", "refuses")
    stage.wait(1)
    assert stage.health(stage.addresses[0])[0] == "healthy", "one failure is not enough"
    stage.wait(1)
    assert stage.health(stage.addresses[0])[0] == "unhealthy"
    assert [stage.ask() for _ in range(3)] == [200] * 3
    assert set(stage.flows()) == {(stage.addresses[1], False)}
    stage.aws.mend_service(stage.clusters[0], "livy")
    stage.wait(2)
    assert stage.health(stage.addresses[0])[0] == "healthy"


def test_a_check_that_only_connects_finds_a_service_that_hangs_healthy(stage):
    stage.register(stage.addresses[0])
    stage.wait(4)
    stage.aws.trouble_service(stage.clusters[0], "livy", "hangs")
    stage.wait(4)
    assert stage.health(stage.addresses[0]) == ("healthy", None)


@pytest.mark.parametrize("trouble", ["hangs", "errors", "refuses"])
def test_a_check_over_http_wants_an_answer_of_the_expected_status(stage, make_group, elb, trouble):
    group = make_group("http", HealthCheckProtocol="HTTP", HealthCheckPath="/batches", Matcher={"HttpCode": "200-399"})
    elb.create_listener(
        LoadBalancerArn=stage.balancer["LoadBalancerArn"],
        Protocol="TCP",
        Port=9998,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    stage.group = group
    stage.register(stage.addresses[0])
    stage.wait(4)
    assert stage.health(stage.addresses[0]) == ("healthy", None)
    stage.aws.trouble_service(stage.clusters[0], "livy", trouble)
    stage.wait(2)
    stage.aws.clock.advance(TIMEOUT)
    assert stage.health(stage.addresses[0]) == ("unhealthy", "Target.FailedHealthChecks")


def test_a_zone_that_is_cut_off_fails_its_checks_after_their_timeout(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    stage.aws.cut_zone(ZONES[0])
    stage.wait(2)
    assert stage.health(stage.addresses[0])[0] == "healthy", "the second check has not timed out yet"
    stage.aws.clock.advance(TIMEOUT)
    assert [stage.health(address)[0] for address in stage.addresses] == ["unhealthy", "healthy"]
    assert stage.ask() == 200


def test_without_a_healthy_target_the_load_balancer_fails_open(stage):
    for cluster in stage.clusters:
        stage.aws.trouble_service(cluster, "livy", "refuses")
    stage.register(*stage.addresses)
    stage.wait(4)
    stage.aws.mend_service(stage.clusters[0], "livy")
    stage.aws.mend_service(stage.clusters[1], "livy")
    assert [stage.health(address)[0] for address in stage.addresses] == ["unhealthy", "unhealthy"]
    assert [stage.ask(), stage.ask()] == [200, 200]
    assert sorted(stage.flows()) == sorted((address, True) for address in stage.addresses)


def test_without_any_target_a_connection_is_reset(stage):
    with pytest.raises(requests.ConnectionError):
        stage.ask()
    assert stage.flows() == [(None, True)]


def test_a_deregistered_target_is_draining_and_then_gone(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    first, second = stage.addresses
    stage.elb.deregister_targets(TargetGroupArn=stage.group, Targets=[{"Id": first}])
    assert stage.health(first) == ("draining", "Target.DeregistrationInProgress")
    assert [stage.ask(), stage.ask()] == [200, 200]
    assert set(stage.flows()) == {(second, False)}
    stage.aws.clock.advance(299)
    assert stage.health(first)[0] == "draining"
    stage.aws.clock.advance(1)
    assert stage.health(first) == ("unused", "Target.NotRegistered")
    found = stage.elb.describe_target_health(TargetGroupArn=stage.group)["TargetHealthDescriptions"]
    assert [each["Target"]["Id"] for each in found] == [second]


def test_a_target_that_is_registered_again_while_it_drains_is_initial(stage):
    stage.register(stage.addresses[0])
    stage.wait(4)
    target = [{"Id": stage.addresses[0]}]
    stage.elb.deregister_targets(TargetGroupArn=stage.group, Targets=target)
    stage.register(stage.addresses[0])
    assert stage.health(stage.addresses[0])[0] == "initial"
    stage.aws.clock.advance(301)
    assert stage.health(stage.addresses[0])[0] == "healthy", "the delay of before removes nothing"


def test_registering_twice_and_deregistering_what_is_not_there_change_nothing(stage):
    stage.register(stage.addresses[0])
    stage.wait(4)
    stage.register(stage.addresses[0])
    assert stage.health(stage.addresses[0])[0] == "healthy"
    stage.elb.deregister_targets(TargetGroupArn=stage.group, Targets=[{"Id": stage.addresses[1]}])
    assert stage.health(stage.addresses[1]) == ("unused", "Target.NotRegistered")


def test_an_open_connection_lives_through_draining(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    with stage.connect() as connection:
        stage.elb.deregister_targets(TargetGroupArn=stage.group, Targets=[{"Id": stage.flows()[0][0]}])
        stage.aws.clock.advance(100)
        connection.sendall(REQUEST)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_an_open_connection_is_reset_when_its_target_becomes_unhealthy_and_another_is_healthy(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    with stage.connect() as first, stage.connect() as second:
        cluster = stage.clusters[stage.addresses.index(stage.flows()[0][0])]
        stage.aws.trouble_service(cluster, "livy", "refuses")
        stage.wait(2)
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        second.sendall(REQUEST)
        assert second.recv(12) == b"HTTP/1.1 200"


def test_the_connections_of_the_last_target_are_not_reset_as_the_load_balancer_fails_open(stage):
    stage.register(stage.addresses[0])
    stage.wait(4)
    with stage.connect() as connection:
        stage.aws.trouble_service(stage.clusters[0], "livy", "refuses")
        stage.wait(2)
        assert stage.health(stage.addresses[0])[0] == "unhealthy"
        stage.aws.mend_service(stage.clusters[0], "livy")
        connection.sendall(REQUEST)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_targets_are_unused_without_a_listener_or_in_a_zone_that_is_not_enabled(
    local_emr, elb, start_in, make_group, make_balancer
):
    cluster, group = start_in("eu-west-1c"), make_group()
    stage = Stage(local_emr, elb, group, None, (cluster, cluster))
    stage.register(stage.addresses[0])
    stage.wait(10)
    assert stage.health(stage.addresses[0]) == ("unused", "Target.NotInUse")
    make_balancer(group)
    stage.wait(10)
    assert stage.health(stage.addresses[0]) == ("unused", "Target.NotInUse")
    (found,) = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert found["Target"]["AvailabilityZone"] == "eu-west-1c"


def test_instances_are_targets_while_they_run(local_emr, elb, start_in, make_group, make_balancer, refused):
    cluster = start_in(ZONES[0])
    instance_id = local_emr.cluster(cluster).primary.id
    group = make_group(TargetType="instance")
    stage = Stage(local_emr, elb, group, make_balancer(group), (cluster, cluster))
    stage.register(instance_id)
    stage.wait(4)
    assert stage.health(instance_id) == ("healthy", None)
    assert stage.ask() == 200
    local_emr.lose_primary(cluster)
    assert stage.health(instance_id) == ("unused", "Target.InvalidState")
    for name in (instance_id, "i-0123456789abcdef0"):
        with refused("InvalidTarget"):
            elb.register_targets(TargetGroupArn=group, Targets=[{"Id": name, "Port": 1}])


def test_public_addresses_and_groups_that_are_not_there_are_refused(stage, refused):
    for name in ("203.0.113.7", "8.8.8.8", "livy"):
        with refused("ValidationError"):
            stage.register(name)
    stage.group += "x"
    with refused("TargetGroupNotFound"):
        stage.register(stage.addresses[0])


def test_the_ports_of_a_load_balancer_are_there_as_long_as_its_listeners(stage):
    stage.register(stage.addresses[0])  # without any, connections are reset
    where = (stage.balancer["DNSName"], 8998)
    (shown,) = stage.elb.describe_load_balancers(Names=["emr"])["LoadBalancers"]
    assert shown["DNSName"] == where[0]
    assert shown["LoadBalancerArn"] == stage.balancer["LoadBalancerArn"]
    assert ":loadbalancer/net/emr/" in shown["LoadBalancerArn"]
    told = requests.get(f"{stage.aws.endpoint_url}/_local/services", timeout=5).json()
    assert [each["address"] for each in told["listeners"]] == [f"{where[0]}:8998"]
    assert {f"{address}:8998" for address in stage.addresses} <= {each["address"] for each in told["services"]}
    socket.create_connection(where, timeout=1).close()
    (listener,) = stage.elb.describe_listeners(LoadBalancerArn=shown["LoadBalancerArn"])["Listeners"]
    stage.elb.delete_listener(ListenerArn=listener["ListenerArn"])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=1)
    assert [event["state"] for event in stage.aws.events.read(kind="listener")] == ["open", "closed"]


def test_a_stale_read_of_target_health_shows_what_was(stage):
    stage.aws.remember()
    stage.register(stage.addresses[0])
    stage.wait(4)
    stage.aws.faults.add(operation="DescribeTargetHealth", kind="stale", seconds=INTERVAL * 2)
    assert stage.health(stage.addresses[0])[0] == "initial"
    assert stage.health(stage.addresses[0])[0] == "healthy"


def test_changes_of_targets_are_in_the_event_log(stage):
    stage.register(stage.addresses[0])
    stage.wait(4)
    stage.elb.deregister_targets(TargetGroupArn=stage.group, Targets=[{"Id": stage.addresses[0]}])
    stage.aws.clock.advance(300)
    events = stage.aws.events.read(kind="target")
    assert [event["state"] for event in events] == ["registered", "healthy", "draining", "deregistered"]


def test_a_policy_is_asked_about_the_target_group(stage, refused, boto):
    target_groups = stage.group.rpartition(":targetgroup/")[0] + ":targetgroup/livy/*"
    allow = {"Effect": "Allow", "Action": "elasticloadbalancing:RegisterTargets", "Resource": target_groups}
    describe = {"Effect": "Allow", "Action": "elasticloadbalancing:DescribeTargetHealth", "Resource": "*"}
    stage.aws.enforce({"Statement": [allow, describe]}, access_key_id="operator")
    stage.elb = boto("elbv2", aws_access_key_id="operator", aws_secret_access_key="any")
    stage.register(stage.addresses[0])
    assert stage.health(stage.addresses[0])[0] == "initial"
    with refused("AccessDenied"):
        stage.elb.deregister_targets(TargetGroupArn=stage.group, Targets=[{"Id": stage.addresses[0]}])
    stage.group = stage.group.replace("/livy/", "/other/")
    with refused("AccessDenied"):
        stage.register(stage.addresses[0])


def test_a_batch_is_asked_for_at_another_server_which_has_one_of_the_same_number(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    url = f"http://{stage.balancer['DNSName']}:8998/batches"
    with requests.Session() as session:
        session.trust_env = False
        for name in ("mine", "theirs"):
            answer = session.post(url, json={"file": "s3://code/job.py", "name": name}, timeout=5)
            assert answer.json()["id"] == 0
        assert {session.get(f"{url}/0", timeout=5).json()["name"] for _ in range(2)} == {"mine", "theirs"}
        assert {session.get(f"{url}/mine", timeout=5).status_code for _ in range(2)} == {200, 404}


def test_when_one_of_two_clusters_ends_all_further_batches_go_to_the_other(stage):
    stage.register(*stage.addresses)
    stage.wait(4)
    stage.aws.lose_primary(stage.clusters[0])
    stage.wait(2)
    stage.aws.clock.advance(TIMEOUT)
    assert stage.health(stage.addresses[0])[0] == "unhealthy"
    assert [stage.ask() for _ in range(4)] == [200] * 4
    assert {target for target, _ in stage.flows()} == {stage.addresses[1]}
