"""NlbTargetsOperator on the local EMR, whose load balancers check the health of their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws.load_balancers import Member
from airflow_eip_provider.exceptions import KilledError, TransientError, WaitTimeoutError
from airflow_eip_provider.hooks.elbv2 import ElasticLoadBalancingHook
from airflow_eip_provider.operators.elbv2 import NlbTargetsOperator
from harness.life import Task
from tests.load_balancer import ZONES, allow_ports, create_load_balancer, listen

if TYPE_CHECKING:
    from collections.abc import Callable

APPLICATIONS = [{"Name": "Spark"}, {"Name": "Livy"}]
PORTS = {"yarn": 8088, "hdfs": 9870, "livy": 8998}
CHANGES = ("RegisterTargets", "DeregisterTargets")


@pytest.fixture
def elb(boto: Any, clocked: Any) -> Any:
    return boto("elbv2")


@pytest.fixture
def subnets(ec2: Any) -> dict[str, Any]:
    return {subnet["AvailabilityZone"]: subnet for subnet in ec2.describe_subnets()["Subnets"]}


@pytest.fixture
def launch(emr: Any, clocked: Any, overrides: dict[str, Any], subnets: dict[str, Any]) -> Callable[..., str]:
    def start(zone: str = ZONES[0], *, seconds: float = 600) -> str:
        instances = {**overrides["Instances"], "Ec2SubnetId": subnets[zone]["SubnetId"]}
        cluster = emr.run_job_flow(Name="livy", Applications=APPLICATIONS, Instances=instances)
        clocked.clock.advance(seconds)
        return str(cluster["JobFlowId"])

    return start


@pytest.fixture
def open_ports(ec2: Any, clocked: Any, subnets: dict[str, Any]) -> Callable[..., None]:
    """Allow traffic from the load balancer's subnets to a cluster's primary node."""

    def allow(job_flow_id: str, *ports: int) -> None:
        instance_id = clocked.cluster(job_flow_id).primary.id
        allow_ports(ec2, instance_id, [subnets[zone] for zone in ZONES], ports or PORTS.values())

    return allow


@pytest.fixture
def groups(elb: Any, subnets: dict[str, Any]) -> dict[str, str]:
    """Three target groups behind one load balancer, by the names of their services; of type "ip" except YARN's."""
    return create_load_balancer(elb, [subnets[zone] for zone in ZONES], PORTS, by_instance=["yarn"])[1]


def operator(**parameters: Any) -> NlbTargetsOperator:
    return NlbTargetsOperator(**{"task_id": "targets", "target_groups": list(PORTS), "aws_conn_id": None, **parameters})


def registered(elb: Any, arn: str) -> list[tuple[str, int, str]]:
    targets = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    return [(each["Target"]["Id"], each["Target"]["Port"], each["TargetHealth"]["State"]) for each in targets]


def changes(clocked: Any) -> list[str]:
    return [event["operation"] for event in clocked.events.calls() if event["operation"] in CHANGES]


def test_the_primary_node_is_registered_by_instance_or_address_until_it_is_healthy(
    clocked, launch, open_ports, groups, elb, deferrable
):
    cluster = launch()
    open_ports(cluster)
    task = Task(operator(job_flow_id=cluster, deferrable=deferrable))
    found = task.run()
    primary = clocked.cluster(cluster).primary
    assert [(each["target_group"], each["target"], each["port"], each["state"]) for each in found] == [
        ("yarn", primary.id, 8088, "healthy"),
        ("hdfs", primary.private_ip_address, 9870, "healthy"),
        ("livy", primary.private_ip_address, 8998, "healthy"),
    ]
    assert registered(elb, groups["livy"]) == [(primary.private_ip_address, 8998, "healthy")]
    assert bool(task.deferrals) is deferrable
    assert Task(operator(job_flow_id=cluster, deferrable=deferrable)).run() == found, "running it twice changes nothing"


def test_a_service_moves_to_another_node_and_the_first_is_drained(clocked, launch, open_ports, groups, elb, deferrable):
    first, second = launch(ZONES[0]), launch(ZONES[1])
    open_ports(first)
    open_ports(second)
    Task(operator(job_flow_id=first, deferrable=deferrable)).run()
    Task(operator(job_flow_id=second, deferrable=deferrable)).run()
    assert len(registered(elb, groups["livy"])) == 2
    found = Task(operator(job_flow_id=first, action="deregister", deferrable=deferrable)).run()
    assert {each["state"] for each in found} == {"deregistered"}
    left = clocked.cluster(second).primary.private_ip_address
    assert registered(elb, groups["livy"]) == [(left, 8998, "healthy")]
    again = Task(operator(job_flow_id=first, action="deregister", deferrable=deferrable))
    assert again.run() == found
    assert again.deferrals == []


def test_it_waits_for_a_starting_node(clocked, launch, open_ports, groups, deferrable):
    other = launch()
    open_ports(other)
    cluster = launch(seconds=1)
    found = Task(operator(job_flow_id=cluster, deferrable=deferrable)).run()
    assert {each["state"] for each in found} == {"healthy"}


def test_an_unhealthy_target_ends_with_a_timeout_that_names_the_reason(
    clocked, launch, open_ports, groups, elb, deferrable
):
    cluster = launch()
    open_ports(cluster)
    clocked.trouble_service(cluster, "livy", "refuses")
    task = Task(operator(job_flow_id=cluster, waiter_max_attempts=10, deferrable=deferrable))
    with pytest.raises(WaitTimeoutError, match=r"become healthy.*is unhealthy \(Target\.FailedHealthChecks.*'livy'"):
        task.run()
    assert len(registered(elb, groups["livy"])) == 1, "what was registered stays"
    clocked.mend_service(cluster, "livy")
    Task(operator(job_flow_id=cluster, deferrable=deferrable)).run()


def test_the_node_of_a_cluster_that_has_ended_is_deregistered(
    clocked, launch, open_ports, groups, elb, emr, deferrable
):
    cluster = launch()
    open_ports(cluster)
    Task(operator(job_flow_id=cluster)).run()
    emr.terminate_job_flows(JobFlowIds=[cluster])
    clocked.clock.advance(900)
    Task(operator(job_flow_id=cluster, action="deregister", deferrable=deferrable)).run()
    assert [registered(elb, arn) for arn in groups.values()] == [[], [], []]


def test_an_address_that_another_instance_has_now_stays_registered(
    clocked, launch, open_ports, groups, elb, emr, monkeypatch
):
    old, new = launch(), launch()
    open_ports(new)
    Task(operator(job_flow_id=new)).run()
    address = clocked.cluster(new).primary.private_ip_address
    stale = {clocked.cluster(old).primary.id: address}  # as EMR shows what the old one had
    monkeypatch.setattr("airflow_eip_provider.operators.elbv2.read_all_primaries", lambda *_: stale)
    Task(operator(job_flow_id=old, action="deregister")).run()
    assert registered(elb, groups["livy"]) == [(address, 8998, "healthy")]


def test_an_instance_or_an_address_can_be_given(clocked, launch, open_ports, groups, elb):
    cluster = launch()
    open_ports(cluster)
    primary = clocked.cluster(cluster).primary
    (yarn,) = Task(operator(instance_id=primary.id, target_groups="yarn")).run()
    (livy,) = Task(operator(private_ip=primary.private_ip_address, target_groups=[groups["livy"]])).run()
    assert (yarn["target"], livy["target"]) == (primary.id, primary.private_ip_address)
    Task(operator(private_ip=primary.private_ip_address, target_groups=["livy"], action="deregister")).run()
    assert registered(elb, groups["livy"]) == []


def test_a_port_can_be_given(clocked, launch, open_ports, groups, elb):
    cluster = launch()
    open_ports(cluster, 8088)
    given = [{"target_group": "livy", "port": 8088}]
    (found,) = Task(operator(job_flow_id=cluster, target_groups=given)).run()
    assert found["port"] == 8088
    address = clocked.cluster(cluster).primary.private_ip_address
    elb.register_targets(TargetGroupArn=groups["livy"], Targets=[{"Id": address, "Port": 8998}])
    Task(operator(job_flow_id=cluster, target_groups=given, action="deregister")).run()
    assert [port for _, port, _ in registered(elb, groups["livy"])] == [8998]


def test_without_waiting_the_state_is_registered_or_deregistering(clocked, launch, open_ports, groups):
    cluster = launch()
    open_ports(cluster)
    shared = {"job_flow_id": cluster, "wait_for_completion": False, "target_groups": ["livy"]}
    assert Task(operator(**shared)).run()[0]["state"] == "registered"
    assert Task(operator(**shared, action="deregister")).run()[0]["state"] == "deregistering"


@pytest.mark.parametrize("trouble", ["lost answer", "kill"])
def test_a_retry_continues_where_a_try_stopped(clocked, launch, open_ports, groups, elb, trouble, deferrable):
    cluster = launch()
    open_ports(cluster)
    if trouble == "lost answer":
        clocked.faults.add(operation="RegisterTargets", kind="lost_response", times=1)
        Task(operator(job_flow_id=cluster, deferrable=deferrable)).run()
    else:
        killed = operator(job_flow_id=cluster)
        killed.pre_execute({})
        killed.on_kill()
        with pytest.raises(KilledError, match="running this task"):
            Task(killed).run()
        assert changes(clocked) == []
        Task(operator(job_flow_id=cluster, deferrable=deferrable), try_number=2).run()
    assert [state for _, _, state in registered(elb, groups["livy"])] == ["healthy"]


def test_a_target_that_can_never_be_healthy_is_refused_before_anything_is_changed(
    clocked, launch, open_ports, groups, elb, ec2, subnets
):
    cluster = launch("eu-west-1c")
    elb.create_target_group(Name="unused", Protocol="TCP", Port=8998, VpcId=subnets[ZONES[0]]["VpcId"], TargetType="ip")
    with pytest.raises(AirflowFailException) as error:
        Task(operator(job_flow_id=cluster, target_groups=["livy", "unused"])).run()
    text = str(error.value)
    assert "load balancer 'emr' is enabled in eu-west-1a, eu-west-1b" in text
    assert "is in eu-west-1c: enable that zone" in text
    assert "do not allow load balancer 'emr' on TCP port 8998: allow it from " in text
    assert "target group 'unused' is not used by any load balancer" in text
    assert changes(clocked) == []


def test_another_vpc_is_refused(clocked, launch, groups, elb, ec2):
    cluster = launch()
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone=ZONES[0])["Subnet"]["SubnetId"]
    (group,) = elb.create_target_group(Name="far", Protocol="TCP", Port=8998, VpcId=vpc, TargetType="ip")[
        "TargetGroups"
    ]
    (balancer,) = elb.create_load_balancer(Name="far", Type="network", Subnets=[subnet])["LoadBalancers"]
    listen(elb, balancer["LoadBalancerArn"], group["TargetGroupArn"], port=8998)
    with pytest.raises(AirflowFailException, match=f"target group 'far' is in VPC '{vpc}'"):
        Task(operator(job_flow_id=cluster, target_groups=["far"])).run()
    assert changes(clocked) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"action": "replace"}, "register"),
        ({"target_groups": []}, "names none"),
        ({"target_groups": "None"}, "names none"),
        ({"target_groups": ["no-such"]}, "'no-such'.*there is none in region"),
        ({"target_groups": [{"target_group": "livy", "ports": 3}]}, "neither a name"),
        ({"target_groups": [{"target_group": "livy", "port": 70000}]}, "neither a name"),
        ({"job_flow_id": None}, "job_flow_id is None, instance_id is None and private_ip is None"),
        ({"job_flow_id": "None"}, "job_flow_id is 'None', instance_id is None"),
        ({"job_flow_id": "None", "instance_id": "i-1"}, "give exactly one of them"),
        ({"instance_id": "None"}, "instance_id is 'None' and private_ip is None"),
        ({"instance_id": "i-1"}, "give exactly one of them"),
        ({"job_flow_id": "livy"}, "not the ID of an EMR cluster"),
        ({"job_flow_id": None, "instance_id": "x"}, "not the ID of an EC2 instance"),
        ({"job_flow_id": None, "private_ip": "10.0.0"}, "not an IPv4 address"),
        ({"job_flow_id": None, "private_ip": "10.0.0.5"}, "no running instance has this address"),
        ({"waiter_delay": 0}, "waiter_delay"),
        ({"wait_for_completion": "False"}, "wait_for_completion 'False'.*without quotes"),
        ({"deferrable": "False"}, "deferrable 'False'.*without quotes"),
    ],
)
def test_wrong_parameters_are_refused(clocked, groups, wrong, why):
    with pytest.raises(AirflowFailException, match=why):
        Task(operator(**{"job_flow_id": "j-1", **wrong})).run()
    assert changes(clocked) == []


def test_the_methods_of_the_hook_can_be_called_separately(clocked, launch, groups, elb):
    cluster = launch()
    hook = ElasticLoadBalancingHook(aws_conn_id=None)
    address = clocked.cluster(cluster).primary.private_ip_address
    group = hook.get_target_group("livy")
    assert [balancer.name for balancer in hook.get_load_balancers(group)] == ["emr"]
    members = [Member(group.name, group.arn, address, 8998)]
    hook.register(members)
    hook.register(members)
    hook.wait_until_healthy(members, seconds=300)
    assert [str(health) for health in hook.get_target_health(group)] == [f"{address}:8998 is healthy"]
    hook.deregister(members)
    hook.deregister(members)
    hook.wait_until_deregistered(members, seconds=300)
    assert [str(health) for health in hook.get_target_health(group, [members[0].as_target])] == [
        f"{address}:8998 is not registered"
    ]
    with pytest.raises(WaitTimeoutError, match=f"{address}:8998 is not registered"):
        hook.wait_until_healthy(members, seconds=1)


def test_a_refused_target_is_a_transient_error(clocked, groups):
    hook = ElasticLoadBalancingHook(aws_conn_id=None)
    group = hook.get_target_group("yarn")
    with pytest.raises(TransientError, match="it was refused"):
        hook.register([Member(group.name, group.arn, "i-0123456789abcdef0", 8088)])
