"""What users do with this package and what happens to them, each under the policy for their configuration."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import tempfile
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.utils.waiter import WaitPolicy

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws import addresses
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, tags_of
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.exceptions import StepFailedError
from airflow_eip_provider.operators.bindings import NatGateway
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from airflow_eip_provider.operators.elbv2 import NlbTargetsOperator
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from airflow_eip_provider.reaper.task import reap
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.sensors.emr import EmrPrimaryHealthSensor
from harness.leases import vanish
from harness.life import Task
from local_emr.testing import ANYWHERE, default_route, private_subnet
from tests.integration.iam.stage import DYNAMODB, EXECUTION_ROLE, S3, TAGGED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.iam.stage import Stage


def daily(stage: Stage, *, lock_store: str | None, deferrable: bool) -> None:
    """Create, a step, terminate."""
    stage.enforce(lock_store)
    common: dict[str, Any] = {"lock_store": lock_store, "deferrable": deferrable}
    job_flow_id = stage.create(**common).run()
    assert stage.aws.cluster(job_flow_id).idle_timeout is not None
    stage.steps(job_flow_id, execution_role_arn=EXECUTION_ROLE, **common).run()
    stage.terminate(job_flow_id, **common).run()
    assert stage.cluster_state(job_flow_id) == "TERMINATED"
    assert stage.is_free()
    if lock_store:
        assert [ended.resource_id for ended in stage.record(lock_store).history] == [job_flow_id]


def untagged_primary(stage: Stage) -> None:
    """EC2 does not show EMR's tags on the primary instance, so EMR is asked for it."""
    stage.enforce(None)
    stage.patch.setattr(addresses, "read_primaries", lambda *_: {})
    stage.create().run()
    assert not stage.is_free()


def adoption(stage: Stage) -> None:
    """A creating task whose process is gone, and its retry."""
    stage.enforce(None)
    stage.create(deferrable=True).start()
    job_flow_id = stage.create(deferrable=True, try_number=2).run()
    assert len(stage.aws.events.calls("RunJobFlow")) == 1
    assert stage.cluster_state(job_flow_id) in {"STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"}
    stage.steps(job_flow_id, "--sleep", "600", deferrable=True).start()
    stage.steps(job_flow_id, "--sleep", "600", deferrable=True, try_number=2).run()
    cluster = stage.client("emr").describe_cluster(ClusterId=job_flow_id)["Cluster"]
    assert "airflow-eip:adopters" in tags_of(cluster["Tags"])


def queueing(stage: Stage, *, lock_store: str) -> None:
    """Two tasks at one address: the second waits until the first's teardown."""
    stage.enforce(lock_store)
    queue = stage.queue()
    first, second = (stage.create(dag_id=name, lock_store=lock_store, deferrable=True) for name in ("one", "two"))
    first.start()
    queue.until(lambda: first.ended, first)
    second.start()
    queue.pass_time(60, second)
    assert not second.ended
    stage.terminate(first.result, lock_store=lock_store).run()
    queue.until(lambda: second.ended, second)
    assert second.error is None, second.error
    assert stage.record(lock_store).lease.resource_id == second.result


def pooled(stage: Stage, *, lock_store: str | None) -> None:
    """Any one of two addresses with a tag; the third task's cluster gets the address that is free first."""
    stage.pool()
    stage.enforce(lock_store, **TAGGED)
    moved_to_another(stage, {"tag:purpose": "azure-sql"}, lock_store)


def listed(stage: Stage, *, lock_store: str | None) -> None:
    """The same with the ids of the addresses, which the policy names."""
    pool = stage.pool()
    stage.enforce(lock_store, allocation_ids=pool)
    moved_to_another(stage, pool, lock_store)


def moved_to_another(stage: Stage, pool: Any, lock_store: str | None) -> None:
    """Launch a cluster for one address of two, and let it have the other one."""
    queue = stage.queue()
    given: dict[str, Any] = {"allocation_id": pool, "lock_store": lock_store, "deferrable": True}
    first, second = (stage.create(dag_id=name, **given) for name in ("one", "two"))
    for task in (first, second):
        task.start()
        queue.until(lambda task=task: task.ended, task)
    holders = {task.ti.xcoms["static_ip"]["allocation_id"]: task for task in (first, second)}
    early, other = sorted(holders)
    if lock_store is None:
        # EC2 refuses the address that was free when the cluster was launched.
        stage.terminate(holders[early].result, allocation_id=pool).run()
        stage.aws.clock.advance(600)
    third = stage.create(dag_id="three", prewarm=lock_store is not None, **given)
    third.start()
    if lock_store is None:
        stranger = stage.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]
        stage.aws.clock.advance(120)
        stage.client("ec2").associate_address(AllocationId=early, InstanceId=stranger["InstanceId"])
    else:
        queue.until(lambda: len(stage.aws.emr.life.clusters) == 3, third)
        stage.aws.clock.advance(600)
    stage.terminate(holders[other].result, allocation_id=pool, lock_store=lock_store).run()
    queue.until(lambda: third.ended, third)
    assert third.error is None, third.error
    assert third.ti.xcoms["static_ip"]["allocation_id"] == other
    assert stage.aws.cluster(third.result).tags[ALLOCATION_TAG] == other
    assert len(stage.aws.emr.life.clusters) == 3


def sweeping(stage: Stage, *, lock_store: str) -> None:
    """A holder that vanished after its launch; the next owner ends its cluster and takes over."""
    stage.enforce(lock_store)
    queue = stage.queue()
    gone = stage.create(dag_id="gone", lock_store=lock_store, deferrable=True, waiter_max_attempts=40)
    following = stage.create(dag_id="following", lock_store=lock_store, deferrable=True)
    vanish(stage.patch, gone, "launch", after=True)
    left = stage.aws.emr.life.clusters[0].id
    following.start()
    queue.until(lambda: following.ended, following)
    assert following.error is None, following.error
    assert stage.cluster_state(left) == "TERMINATED"
    assert stage.record(lock_store).lease.resource_id == following.result


def undoing(stage: Stage, *, lock_store: str | None) -> None:
    """A creating task that is killed when its cluster has the address."""
    stage.enforce(lock_store)
    task = stage.create(lock_store=lock_store, wait_policy=WaitPolicy.WAIT_FOR_COMPLETION, deferrable=True)
    queue = stage.queue()
    task.start()
    queue.until(lambda: task.ended or not stage.is_free(), task)
    assert task.error is None, task.error
    operator = task._pristine
    operator.pre_execute(task.context)
    operator.on_kill()
    assert stage.is_free(), "at once, not when its instance is gone"
    stage.aws.clock.advance(600)
    assert [cluster.state for cluster in stage.aws.emr.life.clusters] == ["TERMINATED"]


def failed_step(stage: Stage, *, deferrable: bool) -> None:
    """A step fails, and its logs are shown when EMR has written them."""
    stage.enforce(None)
    job_flow_id = stage.create().run()
    task = stage.steps(job_flow_id, "--exit", "1", deferrable=deferrable)
    shown: list[str] = []

    def archive() -> None:
        step_id = stage.aws.cluster(job_flow_id).steps[0].id
        for stream in ("stdout", "stderr"):
            key = f"emr/{job_flow_id}/steps/{step_id}/{stream}.gz"
            stage.client("s3").put_object(Bucket="logs", Key=key, Body=gzip.compress(stream.encode()))

    stage.aws.clock.advance(600)
    stage.aws.clock.call_later(120, archive, name="EMR archives the logs")
    stage.patch.setattr(task._pristine.log, "error", lambda text, *args: shown.append(text % args))
    with pytest.raises(StepFailedError):
        task.run()
    assert [text.rpartition("\n")[2] for text in shown] == ["stdout", "stderr"]


def killed_steps(stage: Stage) -> None:
    """A task that watches a step is killed."""
    stage.enforce(None)
    job_flow_id = stage.create().run()
    stage.aws.clock.advance(600)
    task = stage.steps(job_flow_id, "--sleep", "900", deferrable=True)
    task.start()
    task._pristine.pre_execute(task.context)
    task._pristine.on_kill()
    stage.aws.clock.advance(60)
    assert [step.state for step in stage.aws.cluster(job_flow_id).steps] == ["CANCELLED"]


def protected_cluster(stage: Stage) -> None:
    """A cluster with termination protection, and its teardown."""
    stage.enforce(None)
    overrides = stage.overrides(Instances={"TerminationProtected": True})
    job_flow_id = stage.create(job_flow_overrides=overrides).run()
    stage.terminate(job_flow_id).run()
    assert stage.cluster_state(job_flow_id) == "TERMINATED"


def automatic_scaling(stage: Stage) -> None:
    """A cluster whose core nodes scale."""
    stage.enforce(None)
    overrides = stage.overrides(AutoScalingRole="EMR_AutoScaling_DefaultRole")
    assert stage.create(job_flow_overrides=overrides).run()


def nat_gateway(stage: Stage) -> None:
    """An address that a NAT gateway keeps is refused by that name."""
    stage.enforce(None)
    stage.client("ec2").create_nat_gateway(SubnetId=stage.subnet_id, AllocationId=stage.allocation_id)
    stage.aws.clock.advance(stage.aws.durations.nat_gateway_association)
    with pytest.raises(AirflowFailException, match="NAT gateway"):
        stage.create().run()


def exposed_primary(stage: Stage) -> None:
    """A cluster that EMR's block public access would not let be launched is refused before it is tried."""
    stage.enforce(None)
    ec2 = stage.client("ec2")
    vpc_id = ec2.describe_subnets(SubnetIds=[stage.subnet_id])["Subnets"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="open", Description="open", VpcId=vpc_id)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 8088, "ToPort": 8088, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    overrides = stage.overrides(Instances={"EmrManagedMasterSecurityGroup": group})
    task = stage.create(job_flow_overrides=overrides)
    task.start()
    assert "block public access" in str(task.error)


def moving_on(stage: Stage) -> None:
    """A zone without capacity, and the cluster of the fallback in another one."""
    stage.enforce(None)
    stage.aws.limit_capacity("eu-west-1a")
    fallbacks = [{"Instances": {"Ec2SubnetId": stage.subnet_in("eu-west-1b")}}]
    overrides = stage.overrides(Instances={"Ec2SubnetId": stage.subnet_in("eu-west-1a")})
    task = stage.create(job_flow_overrides=overrides, fallbacks=fallbacks)
    job_flow_id = task.run()
    assert [one["outcome"] for one in task.ti.xcoms["attempts"]][1:] == ["started"]
    assert stage.aws.cluster(job_flow_id).state in {"RUNNING", "WAITING"}
    assert not stage.is_free()


def fallback_that_could_not_start(stage: Stage) -> None:
    """A fallback whose zone does not offer the instance type is refused before it is needed."""
    stage.enforce(None)
    instances = {"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "h1.2xlarge", "InstanceCount": 1}]}
    overrides = stage.overrides(Instances={**instances, "Ec2SubnetId": stage.subnet_in("eu-west-1a")})
    fallbacks = [{"Instances": {"Ec2SubnetId": stage.subnet_in("eu-west-1b")}}]
    task = stage.create(job_flow_overrides=overrides, fallbacks=fallbacks)
    task.start()
    assert "EC2 does not offer h1.2xlarge there" in str(task.error)


def fallback_in_a_zone_that_is_down(stage: Stage) -> None:
    """It is said before the launch."""
    stage.enforce(None)
    stage.aws.take_zone_down("eu-west-1b")
    fallbacks = [{"Instances": {"Ec2SubnetId": stage.subnet_in("eu-west-1b")}}]
    overrides = stage.overrides(Instances={"Ec2SubnetId": stage.subnet_in("eu-west-1a")})
    task = stage.create(job_flow_overrides=overrides, fallbacks=fallbacks, deferrable=True)
    warned: list[str] = []
    stage.patch.setattr(task._pristine.log, "warning", lambda text, *args: warned.append(text % args))
    task.start()
    assert "EC2 reports its state as unavailable" in "".join(warned)


def behind_a_gateway_by_tag(stage: Stage) -> None:
    """The same with a policy that knows the address by its tag."""
    stage.pool()
    behind_a_gateway(stage, **TAGGED)


def behind_a_gateway(stage: Stage, **known: Any) -> None:
    """Cluster and NAT gateway, a step, terminate; a route that led nowhere, and one that led to the internet."""
    ec2 = stage.client("ec2")
    nowhere, internet = private_subnet(ec2), private_subnet(ec2)
    out = ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"]
    ec2.create_route(RouteTableId=internet.route_table_id, DestinationCidrBlock=ANYWHERE, GatewayId=out)
    tables = [nowhere.route_table_id, internet.route_table_id]
    stage.enforce(None, binding="nat-gateway", public_subnets=[stage.subnet_id], route_tables=tables, **known)
    job_flow_id = stage.create(
        binding=NatGateway(public_subnet_id=stage.subnet_id, route_table_ids=tables),
        job_flow_overrides=stage.overrides(Instances={"Ec2SubnetId": nowhere.subnet_id}),
    ).run()
    stage.steps(job_flow_id).run()
    stage.terminate(job_flow_id).run()
    assert default_route(ec2, nowhere.route_table_id) is None
    assert default_route(ec2, internet.route_table_id)["GatewayId"] == out
    assert stage.is_free()


def cluster_made_elsewhere(stage: Stage) -> None:
    """A cluster that others launched, with the address's tag: bound, a step, early release."""
    stage.enforce(None)
    tags = [{"Key": ALLOCATION_TAG, "Value": stage.allocation_id}]
    job_flow_id = stage.client("emr").run_job_flow(**stage.overrides(Tags=tags))["JobFlowId"]
    stage.task(EipAssociateOperator, job_flow_id=job_flow_id).run()
    sensing = {"allocation_id": stage.allocation_id, "job_flow_id": job_flow_id, "aws_conn_id": None}
    Task(EipAssociationSensor(task_id="sense", poke_interval=15, **sensing)).run()
    stage.steps(job_flow_id).run()
    assert stage.task(EipReleaseOperator, job_flow_id=job_flow_id).run() is True
    assert stage.is_free()


def watching(stage: Stage) -> None:
    """The health of a primary node, of which EMR and EC2 are asked."""
    stage.enforce(None, health=True)
    job_flow_id = stage.client("emr").run_job_flow(**stage.overrides())["JobFlowId"]
    stage.aws.clock.advance(600)
    sensing = {"job_flow_id": job_flow_id, "until": "healthy", "checks": [], "aws_conn_id": None}
    assert Task(EmrPrimaryHealthSensor(task_id="watch", **sensing)).run()["status"] == "healthy"


def balanced(stage: Stage) -> str:
    """Make a load balancer for Livy, and return the ARN of its target group."""
    elb, ec2 = stage.client("elbv2"), stage.client("ec2")
    subnets = ec2.describe_subnets()["Subnets"]
    (balancer,) = elb.create_load_balancer(
        Name="emr", Type="network", Subnets=[subnet["SubnetId"] for subnet in subnets]
    )["LoadBalancers"]
    livy = {"Name": "livy", "Protocol": "TCP", "Port": 8998, "VpcId": subnets[0]["VpcId"], "TargetType": "ip"}
    (group,) = elb.create_target_group(**livy)["TargetGroups"]
    arn = group["TargetGroupArn"]
    forward = [{"Type": "forward", "TargetGroupArn": arn}]
    elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="TCP", Port=8998, DefaultActions=forward)
    return str(arn)


def open_to_load_balancer(stage: Stage) -> None:
    """Let the load balancer in at the security groups of a cluster, which later ones share."""
    ec2 = stage.client("ec2")
    for interface in ec2.describe_instances()["Reservations"][-1]["Instances"][0]["NetworkInterfaces"]:
        for security_group in interface["Groups"]:
            everywhere = [{"CidrIp": "172.31.0.0/16"}]
            rule = {"IpProtocol": "tcp", "FromPort": 8998, "ToPort": 8998, "IpRanges": everywhere}
            ec2.authorize_security_group_ingress(GroupId=security_group["GroupId"], IpPermissions=[rule])


def load_balanced(stage: Stage) -> None:
    """A primary node becomes a target of a load balancer, and none any more."""
    stage.enforce(None, target_groups=[balanced(stage)])
    overrides = stage.overrides(Applications=[{"Name": "Livy"}])
    job_flow_id = stage.client("emr").run_job_flow(**overrides)["JobFlowId"]
    stage.aws.clock.advance(600)
    open_to_load_balancer(stage)
    for action, state in (("register", "healthy"), ("deregister", "deregistered")):
        given = {"job_flow_id": job_flow_id, "target_groups": ["livy"], "action": action, "aws_conn_id": None}
        (found,) = stage.noted(NlbTargetsOperator(task_id=action, **given)).run()
        assert found["state"] == state


def failing_over(stage: Stage, *, lock_store: str | None) -> None:
    """A service moves to a cluster that is launched, and from there to a standby, with its address and its target."""
    arn = balanced(stage)
    stage.enforce(lock_store, health=True, target_groups=[arn])
    first = stage.create(lock_store=lock_store).run()
    stage.aws.clock.advance(600)
    given = {"target_groups": ["livy"], "force": True, "checks": [], "lock_store": lock_store, "emr_conn_id": None}
    given |= {"healthy_timeout": timedelta(minutes=30)}
    overrides = stage.overrides(Applications=[{"Name": "Livy"}])
    open_to_load_balancer(stage)
    second = stage.task(EmrFailoverOperator, job_flow_id=first, job_flow_overrides=overrides, **given).run()
    tags = [{"Key": ALLOCATION_TAG, "Value": stage.allocation_id}, {"Key": "role", "Value": "standby"}]
    standby = stage.client("emr").run_job_flow(**{**overrides, "Tags": tags})["JobFlowId"]
    stage.aws.clock.advance(600)
    given |= {"standby_tags": {"role": "standby"}}
    assert stage.task(EmrFailoverOperator, task_id="again", job_flow_id=second, **given).run() == standby
    stage.aws.clock.advance(600)
    assert [stage.cluster_state(name) for name in (first, second)] == ["TERMINATED"] * 2


def drilling(stage: Stage) -> None:
    """A primary is stopped on purpose, after a look at what would take over, and its service moves."""
    stage.enforce(None, health=True, drill=True)
    job_flow_id = stage.create().run()
    stage.aws.clock.advance(600)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as standby, contextlib.redirect_stdout(StringIO()) as said:
        json.dump(stage.overrides(Instances={"Ec2SubnetId": stage.subnet_in("eu-west-1b")}), standby)
        standby.flush()
        given = ["--job-flow-id", job_flow_id, "--allocation-id", stage.allocation_id, "--lock-store", "none"]
        how = ["--job-flow-overrides", standby.name, "--service", "none", "--execute", "--yes", job_flow_id]
        status = main(["drill", *given, *how, "--fail-over", "--json"])
    # A quota that cannot be read is only a warning.
    assert [check["check"] for check in json.loads(said.getvalue())["checks"] if check["findings"]] == []
    assert status == 0


def reaping(stage: Stage) -> None:
    """A cluster of an Airflow environment that is gone, and the reaper."""
    stage.enforce(DYNAMODB)
    stage.patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "gone")
    job_flow_id = stage.create(lock_store=DYNAMODB, idle_timeout=timedelta(days=7)).run()
    stage.patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    stage.patch.setenv("AIRFLOW__EIP__LOCK_STORE", DYNAMODB)
    stage.aws.clock.advance(7200)
    reap(None, dry_run=False, gone_environments=["gone"], aws_conn_id=None)
    assert stage.is_free()
    stage.aws.clock.advance(600)
    assert stage.cluster_state(job_flow_id) == "TERMINATED"


def _each(scenario: Any, **choices: Any) -> dict[str, Callable[[Stage], None]]:
    """Name a scenario's variants."""
    variants: dict[str, Callable[[Stage], None]] = {}
    for lock_store in choices.get("lock_store", [...]):
        for deferrable in choices.get("deferrable", [...]):
            given = {"lock_store": lock_store, "deferrable": deferrable}
            given = {name: value for name, value in given.items() if value is not ...}
            kind = "none" if lock_store is None else str(lock_store).split(":", maxsplit=1)[0]
            words = [scenario.__name__, kind] if "lock_store" in given else [scenario.__name__]
            words += [["blocking", "deferrable"][deferrable]] if "deferrable" in given else []
            variants["-".join(words)] = functools.partial(scenario, **given)
    return variants


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    **_each(daily, lock_store=[None, DYNAMODB, S3], deferrable=[False, True]),
    **_each(queueing, lock_store=[DYNAMODB, S3]),
    **_each(sweeping, lock_store=[DYNAMODB, S3]),
    **_each(pooled, lock_store=[None, DYNAMODB, S3]),
    **_each(listed, lock_store=[None, DYNAMODB, S3]),
    **_each(undoing, lock_store=[None, DYNAMODB, S3]),
    **_each(failed_step, deferrable=[False, True]),
    **_each(adoption),
    **_each(untagged_primary),
    **_each(killed_steps),
    **_each(protected_cluster),
    **_each(automatic_scaling),
    **_each(nat_gateway),
    **_each(exposed_primary),
    **_each(moving_on),
    **_each(fallback_that_could_not_start),
    **_each(fallback_in_a_zone_that_is_down),
    **_each(behind_a_gateway),
    **_each(behind_a_gateway_by_tag),
    **_each(cluster_made_elsewhere),
    **_each(watching),
    **_each(load_balanced),
    **_each(failing_over, lock_store=[None, DYNAMODB]),
    **_each(drilling),
    **_each(reaping),
}
