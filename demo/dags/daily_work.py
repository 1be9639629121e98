"""
Two daily jobs.

``killed_daily`` shares the address of the example; the demo kills its creating task right after the launch of its
cluster. The first zone of ``moved_daily`` has no capacity, so that its cluster is launched in the zone of its fallback.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_eip_provider.task_groups.emr import StaticIpCluster

SETTING = "{{ var.json.azure_sql.%s }}"
ZONES = "{{ var.json.zones.%s }}"
STEP = {
    "Name": "a little work",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["bash", "-c", "sleep 3"]},
}


def daily(dag_id: str, *, allocation_id: str, subnet_id: str, instance_type: str, **cluster_options: Any) -> DAG:
    """Return a DAG with one cluster of one node and a step."""
    cluster = {
        "Name": "{{ dag.dag_id }}",
        "ReleaseLabel": "emr-7.5.0",
        "LogUri": f"s3://{SETTING % 'bucket'}/logs/emr/",
        "JobFlowRole": SETTING % "job_flow_role",
        "ServiceRole": SETTING % "service_role",
        "Instances": {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": instance_type, "InstanceCount": 1}],
            "Ec2SubnetId": subnet_id,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
    }
    with (
        DAG(
            dag_id,
            schedule="@daily",
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
        ) as dag,
        StaticIpCluster(
            "azure", allocation_id=allocation_id, job_flow_overrides=cluster, deferrable=True, **cluster_options
        ) as group,
    ):
        group.steps([STEP], task_id="work")
    return dag


killed = daily(
    "killed_daily",
    allocation_id=SETTING % "allocation_id",
    subnet_id=SETTING % "subnet_id",
    instance_type="m5.xlarge",
)
moved = daily(
    "moved_daily",
    allocation_id=ZONES % "allocation_id",
    subnet_id=ZONES % "subnet_id",
    instance_type="r5.xlarge",
    fallbacks=[{"Instances": {"Ec2SubnetId": ZONES % "other_subnet_id"}}],
)
