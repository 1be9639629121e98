"""One step on two clusters of three nodes: one with the address on the primary node, one behind a NAT gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_eip_provider.task_groups.emr import StaticIpCluster

SETTING = "{{ var.json.azure_sql.%s }}"
NETWORK = "{{ var.json.private_network.%s }}"


def cluster_in(subnet_id: str) -> dict[str, Any]:
    """Return a cluster with one primary and two core nodes."""
    return {
        "Name": "{{ dag.dag_id }}",
        "ReleaseLabel": "emr-7.5.0",
        "Applications": [{"Name": "Spark"}],
        "LogUri": f"s3://{SETTING % 'bucket'}/logs/emr/",
        "JobFlowRole": SETTING % "job_flow_role",
        "ServiceRole": SETTING % "service_role",
        "Instances": {
            "InstanceGroups": [
                {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
                {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2},
            ],
            "Ec2SubnetId": subnet_id,
            "KeepJobFlowAliveWhenNoSteps": True,
        },
    }


ARGUMENTS = {
    **{f"--{name}": SETTING % name for name in ("server", "port", "encrypt", "database", "user", "region")},
    "--secret-id": SETTING % "secret_id",
    "--table": "sales.customers",
    "--partition-column": "customer_id",
    "--partitions": "2",
    "--login-timeout-seconds": "5",
    "--output": f"s3://{SETTING % 'bucket'}/{{{{ dag.dag_id }}}}/",
}
STEP = {
    "Name": "read sales.customers on the executors",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {
        "Jar": "command-runner.jar",
        "Args": [
            *("spark-submit", "--conf", "spark.task.maxFailures=1"),
            f"s3://{SETTING % 'bucket'}/jobs/read_azure_sql.py",
            *(text for argument in ARGUMENTS.items() for text in argument),
        ],
    },
}


def read_on(dag_id: str, *, subnet_id: str, **binding: Any) -> DAG:
    """Return the DAG that runs the step on one of the clusters."""
    with (
        DAG(
            dag_id,
            schedule="@daily",
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
        ) as dag,
        StaticIpCluster(
            "azure",
            allocation_id=NETWORK % "allocation_id",
            job_flow_overrides=cluster_in(subnet_id),
            deferrable=True,
            **binding,
        ) as cluster,
    ):
        # The firewall would refuse a retry, too.
        cluster.steps([STEP], task_id="read", retries=0)
    return dag


primary = read_on("three_nodes_primary", subnet_id=SETTING % "subnet_id", on_multi_node="allow")
gateway = read_on(
    "three_nodes_gateway",
    subnet_id=NETWORK % "subnet_id",
    binding={"public_subnet_id": NETWORK % "public_subnet_id", "route_table_ids": [NETWORK % "route_table_id"]},
    prewarm=True,
)
