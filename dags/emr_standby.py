"""
Keeps a long-running EMR cluster available: a standby takes over when the first one is unhealthy.

Both take Spark batches through Livy behind a Network Load Balancer; the active one has the Elastic IP. Trigger
``emr_standby_start`` once: it launches the first cluster. Then unpause ``emr_standby``. It launches the standby in
another zone, watches the primary node with one deferred task, moves the service when that node is unhealthy, and starts
again, which launches the next standby.

Before that, describe your resources in one Airflow Variable::

    airflow variables set emr_standby '{
        "allocation_id": "eipalloc-0123456789abcdef0", "target_groups": ["emr-yarn", "emr-hdfs", "emr-livy"],
        "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "primary_security_group": "sg-0123456789abcdef0",
        "bucket": "BUCKET", "job_flow_role": "EMR_EC2_DefaultRole", "service_role": "EMR_DefaultRole"}'

The subnets are public, in different zones. The load balancer, workers and triggerers must reach the ports 8088, 9870
and 8998 of the primary nodes: the template ``load-balancer`` of ``deploy/`` creates the target groups, and the security
group as its output ``PrimarySecurityGroupId``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.operators.elbv2 import NlbTargetsOperator
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.sensors.emr import EmrPrimaryHealthSensor

try:
    from airflow.sdk import DAG, Variable, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models import DAG, Variable

VARIABLE = "emr_standby"
NAME = "emr_standby"
TAGS = {"emr-standby": NAME}  # on both clusters: the one without the address is the standby
# Also on both: another environment may have a pair with another address. Without this tag, the policy of
# airflow-eip iam-policy allows no change of a cluster.
ADDRESS_TAG = "airflow-eip:allocation-id"


def setting(name: str) -> Any:
    """Return one entry of the Variable; templates call it when a task runs, so that nothing is read at parse time."""
    settings = Variable.get(VARIABLE, None, deserialize_json=True)
    value = (settings or {}).get(name)
    if value is None:
        problem = f"has no {name!r}" if settings else "is missing"
        raise ValueError(f"Airflow Variable {VARIABLE!r} {problem}; the start of {__file__} shows what it holds")
    return value


def cluster(
    *, subnet_id: str, bucket: str, job_flow_role: str, service_role: str, primary_security_group: str
) -> dict[str, Any]:
    """Return what RunJobFlow is sent for either cluster."""
    return {
        "Name": NAME,
        "ReleaseLabel": "emr-7.5.0",
        "Applications": [{"Name": "Hadoop"}, {"Name": "Spark"}, {"Name": "Livy"}],
        "LogUri": f"s3://{bucket}/logs/emr/",
        "JobFlowRole": job_flow_role,
        "ServiceRole": service_role,
        "Instances": {
            "InstanceGroups": [
                {"Name": "Primary", "InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
            ],
            "Ec2SubnetId": subnet_id,
            "AdditionalMasterSecurityGroups": [primary_security_group],
            "KeepJobFlowAliveWhenNoSteps": True,
        },
        # The reaper does not touch a cluster with the second tag, although the DAG run that launched it has ended.
        "Tags": [{"Key": key, "Value": value} for key, value in {**TAGS, "airflow-eip:keep": "true"}.items()],
    }


def templates(*, subnet_id: str) -> dict[str, Any]:
    """Return the same as templates, for operators, which render them when they run."""
    return cluster(
        subnet_id=subnet_id,
        bucket="{{ setting('bucket') }}",
        job_flow_role="{{ setting('job_flow_role') }}",
        service_role="{{ setting('service_role') }}",
        primary_security_group="{{ setting('primary_security_group') }}",
    )


SETTINGS: dict[str, Any] = {
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    # To be told of failures, add "on_failure_callback".
    "default_args": {"retries": 3, "retry_delay": timedelta(minutes=2)},
    "user_defined_macros": {"setting": setting},
    "tags": ["eip", "livy"],
}

with DAG(
    "emr_standby_start", description="Launches the first cluster of emr_standby", schedule=None, **SETTINGS
) as start:
    create = EmrCreateWithStaticIpOperator(
        task_id="create",
        allocation_id="{{ setting('allocation_id') }}",
        job_flow_overrides=templates(subnet_id="{{ setting('subnet_ids')[0] }}"),
        idle_timeout=None,
        deferrable=True,
    )
    register = NlbTargetsOperator(
        task_id="register",
        job_flow_id=create.output,
        target_groups="{{ setting('target_groups') }}",
        deferrable=True,
    )
    # If Airflow cannot reach a node, the node looks as if it were down.
    reachable = EmrPrimaryHealthSensor(
        task_id="reachable", job_flow_id=create.output, until="healthy", timeout=timedelta(hours=1), deferrable=True
    )
    register >> reachable

# Paused at first, also where new DAGs are not: without the Variable, run after run would fail.
with DAG(
    NAME,
    description="Watches the cluster that has the address",
    schedule="@continuous",
    is_paused_upon_creation=True,
    **SETTINGS,
) as dag:

    @task(task_id="standby")
    def launch_standby(primary: str) -> dict[str, str]:
        """Return the cluster that stands by, one that is there or a new one, and a subnet in another zone."""
        hook = EmrClusterHook(aws_conn_id="aws_default")
        emr = hook.conn
        found = emr.describe_cluster(ClusterId=primary)["Cluster"]
        own = found["Ec2InstanceAttributes"]["Ec2SubnetId"]
        subnet_id = next((each for each in setting("subnet_ids") if each != own), None)
        if subnet_id is None:
            raise ValueError(f"Airflow Variable {VARIABLE!r}: subnet_ids needs a subnet in another zone than {own!r}")
        # The cluster that the primary has replaced may still be listed for a while.
        replaced = [tag["Value"] for tag in found["Tags"] if tag["Key"] == "airflow-eip:successor-of"]
        active = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
        pages = emr.get_paginator("list_clusters").paginate(ClusterStates=active)
        named = [each["Id"] for page in pages for each in page["Clusters"] if each["Name"] == NAME]
        address = {"Key": ADDRESS_TAG, "Value": setting("allocation_id")}
        others = [
            job_flow_id
            for job_flow_id in named
            if job_flow_id not in {primary, *replaced}
            and address in emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Tags"]
        ]
        if not others:
            names = ("bucket", "job_flow_role", "service_role", "primary_security_group")
            wanted = cluster(subnet_id=subnet_id, **{name: setting(name) for name in names})
            wanted["Tags"].append(address)
            # If the answer is lost, botocore would launch a second cluster. A retry of this task finds the first one.
            others = [hook.conn_without_retries.run_job_flow(**wanted)["JobFlowId"]]
        return {"job_flow_id": others[0], "subnet_id": subnet_id}

    # Also waits for the first cluster. After a week the wait ends, and the next run starts it again.
    primary = EipAssociationSensor(
        task_id="primary",
        allocation_id="{{ setting('allocation_id') }}",
        poke_interval=30,
        timeout=timedelta(days=7),
        soft_fail=True,
        deferrable=True,
    )
    primary_id = "{{ ti.xcom_pull(task_ids='primary')['job_flow_id'] }}"
    watch = EmrPrimaryHealthSensor(
        task_id="watch", job_flow_id=primary_id, timeout=timedelta(days=7), soft_fail=True, deferrable=True
    )
    fail_over = EmrFailoverOperator(
        task_id="fail_over",
        job_flow_id=primary_id,
        allocation_id="{{ setting('allocation_id') }}",
        health=watch.output,
        standby_tags={**TAGS, ADDRESS_TAG: "{{ setting('allocation_id') }}"},
        # Launched if there is no standby.
        job_flow_overrides=templates(subnet_id="{{ ti.xcom_pull(task_ids='standby')['subnet_id'] }}"),
        target_groups="{{ setting('target_groups') }}",
        deferrable=True,
    )
    primary >> launch_standby(primary_id) >> watch >> fail_over
