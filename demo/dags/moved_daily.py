"""A daily job whose first zone has no capacity, and which ends in the zone of its fallback."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_eip_provider.task_groups.emr import StaticIpCluster

SETTING = "{{ var.json.azure_sql.%s }}"
ZONES = "{{ var.json.zones.%s }}"
CLUSTER = {
    "Name": "{{ dag.dag_id }}",
    "ReleaseLabel": "emr-7.5.0",
    "LogUri": f"s3://{SETTING % 'bucket'}/logs/emr/",
    "JobFlowRole": SETTING % "job_flow_role",
    "ServiceRole": SETTING % "service_role",
    "Instances": {
        "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "r5.xlarge", "InstanceCount": 1}],
        "Ec2SubnetId": ZONES % "subnet_id",
        "KeepJobFlowAliveWhenNoSteps": True,
    },
}
STEP = {
    "Name": "a little work",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["bash", "-c", "sleep 3"]},
}

with (
    DAG(
        "moved_daily",
        schedule="@daily",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    ),
    StaticIpCluster(
        "azure",
        allocation_id=ZONES % "allocation_id",
        job_flow_overrides=CLUSTER,
        fallbacks=[{"Instances": {"Ec2SubnetId": ZONES % "other_subnet_id"}}],
        deferrable=True,
    ) as cluster,
):
    cluster.steps([STEP], task_id="work")
