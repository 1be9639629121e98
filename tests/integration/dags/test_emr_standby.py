"""The example DAGs of a pair: rendered as Airflow does, and their cluster launched on the local EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectionClosedError

from tests.integration.dags.conftest import rendered

if TYPE_CHECKING:
    from types import ModuleType

SETTINGS = {
    "allocation_id": "eipalloc-0123456789abcdef0",
    "target_groups": ["emr-yarn", "emr-hdfs", "emr-livy"],
    "primary_security_group": "sg-0123456789abcdef0",
    "bucket": "lake",
    "job_flow_role": "EMR_EC2_DefaultRole",
    "service_role": "EMR_DefaultRole",
}


@pytest.fixture
def settings(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    known: dict[str, Any] = {**SETTINGS, "subnet_ids": ["subnet-a", "subnet-b"]}
    monkeypatch.setattr(module.Variable, "get", staticmethod(lambda *_, **__: known))
    return known


class Ti:
    """XComs of a run, for templates."""

    def xcom_pull(self, task_ids: str) -> Any:
        return {
            "primary": {"job_flow_id": "j-1A2B3C4D5E6F7"},
            "standby": {"job_flow_id": "j-9A2B3C4D5E6F7", "subnet_id": "subnet-b"},
        }[task_ids]


def test_one_run_after_the_other_watches_with_one_deferred_task(module: ModuleType) -> None:
    dag = module.dag
    assert (type(dag.timetable).__name__, dag.max_active_runs) == ("ContinuousTimetable", 1)
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "primary": set(),
        "standby": {"primary"},
        "watch": {"standby"},
        "fail_over": {"watch"},
    }
    assert all(dag.get_task(name).deferrable for name in ("primary", "watch", "fail_over"))


@pytest.mark.usefixtures("settings")
def test_the_variable_is_in_every_task(module: ModuleType) -> None:
    create = rendered(module.start, "create", context={"ti": Ti()})
    assert create.allocation_id == SETTINGS["allocation_id"]
    assert create.job_flow_overrides["Instances"]["Ec2SubnetId"] == "subnet-a"
    move = rendered(module.dag, "fail_over", context={"ti": Ti()}, health={})
    assert (move.job_flow_id, move.allocation_id) == ("j-1A2B3C4D5E6F7", SETTINGS["allocation_id"])
    assert move.job_flow_overrides["Instances"]["Ec2SubnetId"] == "subnet-b"
    assert move.target_groups == str(SETTINGS["target_groups"])
    assert move.standby_tags == {**module.TAGS, "airflow-eip:allocation-id": SETTINGS["allocation_id"]}
    for overrides in (create.job_flow_overrides, move.job_flow_overrides):
        assert overrides["Instances"]["AdditionalMasterSecurityGroups"] == [SETTINGS["primary_security_group"]]
    assert rendered(module.dag, "watch", context={"ti": Ti()}).job_flow_id == "j-1A2B3C4D5E6F7"


def test_both_clusters_are_found_as_standby_kept_by_the_reaper_and_not_ended_when_idle(module: ModuleType) -> None:
    made = module.cluster(
        subnet_id="subnet-a", bucket="lake", job_flow_role="x", service_role="y", primary_security_group="sg-1"
    )
    tags = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
    assert tags.items() >= module.TAGS.items()
    assert "airflow-eip:keep" in tags
    assert module.dag.get_task("fail_over").standby_tags.items() >= module.TAGS.items()
    assert "AutoTerminationPolicy" not in made
    assert module.start.get_task("create").idle_timeout is None
    assert module.dag.get_task("fail_over").idle_timeout is None


@pytest.fixture
def launch(module: ModuleType, settings: dict[str, Any], clocked: Any, ec2: Any, monkeypatch: Any) -> Any:
    """Return the function of the standby task, and a primary in the first subnet."""
    subnets = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"])[:2]
    settings["subnet_ids"] = [subnet["SubnetId"] for subnet in subnets]
    group = {"GroupName": "services", "Description": "x", "VpcId": subnets[0]["VpcId"]}
    settings["primary_security_group"] = ec2.create_security_group(**group)["GroupId"]
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    return module.dag.get_task("standby").python_callable


def start(module: ModuleType, emr: Any, clocked: Any, *, subnet_id: str, tags: dict[str, str] | None = None) -> str:
    wanted = module.cluster(
        subnet_id=subnet_id,
        bucket="lake",
        job_flow_role="x",
        service_role="y",
        primary_security_group=module.setting("primary_security_group"),
    )
    wanted["Tags"] += [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
    made = str(emr.run_job_flow(**wanted)["JobFlowId"])
    clocked.clock.advance(300)
    return made


def test_a_standby_is_launched_once_and_in_the_other_subnet(module, settings, launch, clocked, emr):
    first, second = settings["subnet_ids"]
    primary = start(module, emr, clocked, subnet_id=first)
    made = launch(primary)
    place = emr.describe_cluster(ClusterId=made["job_flow_id"])["Cluster"]["Ec2InstanceAttributes"]
    assert made["subnet_id"] == place["Ec2SubnetId"] == second
    tags = {tag["Key"]: tag["Value"] for tag in emr.describe_cluster(ClusterId=made["job_flow_id"])["Cluster"]["Tags"]}
    assert tags["airflow-eip:allocation-id"] == SETTINGS["allocation_id"]
    assert launch(primary) == made
    emr.terminate_job_flows(JobFlowIds=[made["job_flow_id"]])
    assert launch(primary)["job_flow_id"] not in {primary, made["job_flow_id"]}


def test_a_lost_answer_launches_no_second_standby(module, settings, launch, clocked, emr):
    primary = start(module, emr, clocked, subnet_id=settings["subnet_ids"][0])
    clocked.faults.add(operation="RunJobFlow", kind="lost_response", times=1)
    with pytest.raises(ConnectionClosedError):
        launch(primary)
    clocked.clock.advance(120)
    made = launch(primary)["job_flow_id"]
    assert {cluster.id for cluster in clocked.emr.life.clusters} == {primary, made}


def test_the_cluster_that_the_primary_has_replaced_is_no_standby(module, settings, launch, clocked, emr):
    first, second = settings["subnet_ids"]
    old = start(module, emr, clocked, subnet_id=first)
    primary = start(module, emr, clocked, subnet_id=second, tags={"airflow-eip:successor-of": old})
    made = launch(primary)
    assert made["job_flow_id"] not in {old, primary}
    assert made["subnet_id"] == first


def test_the_standby_of_another_address_is_not_chosen(module, settings, launch, clocked, emr):
    first, second = settings["subnet_ids"]
    other = start(module, emr, clocked, subnet_id=second, tags={"airflow-eip:allocation-id": "eipalloc-of-others"})
    primary = start(module, emr, clocked, subnet_id=first)
    assert launch(primary)["job_flow_id"] not in {primary, other}


def test_a_missing_second_subnet_is_named(module, settings, launch, clocked, emr):
    settings["subnet_ids"] = settings["subnet_ids"][:1]
    (only,) = settings["subnet_ids"]
    primary = start(module, emr, clocked, subnet_id=only)
    with pytest.raises(ValueError, match=f"subnet_ids needs a subnet in another zone than '{only}'"):
        launch(primary)
