"""A daily Spark batch through Livy that reads an Azure SQL Database from one Elastic IP, which its firewall admits.

The same job as in ``azure_sql_daily.py``, as a Livy batch instead of a step, for clusters on which others also submit
through Livy. It reads the same Airflow Variable ``azure_sql``. It needs the extra ``livy``, and a Livy connection
``livy_default``, from which it uses the schema, port and login: the host is the cluster's own. Workers and triggerers
must reach port 8998 of the primary node: allow it in the security group of EMR's primary nodes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator
from airflow_eip_provider.task_groups.emr import StaticIpCluster

try:
    from airflow.sdk import DAG, Variable
except ImportError:  # Airflow 2
    from airflow.models import DAG, Variable

VARIABLE = "azure_sql"


def setting(name: str, default: Any = None) -> Any:
    """Return one entry of the Variable; templates call it when a task runs, so that nothing is read at parse time."""
    settings = Variable.get(VARIABLE, None, deserialize_json=True)
    value = (settings or {}).get(name, default)
    if value is None:
        problem = f"has no {name!r}" if settings else "is missing"
        raise ValueError(f"Airflow Variable {VARIABLE!r} {problem}; azure_sql_daily.py shows what it holds")
    return value


# One node: executors connect from the address of the node that they run on.
CLUSTER = {
    "Name": "{{ dag.dag_id }}",
    "ReleaseLabel": "emr-7.5.0",
    "Applications": [{"Name": "Spark"}, {"Name": "Livy"}],
    "LogUri": "s3://{{ setting('bucket') }}/logs/emr/",
    "JobFlowRole": "{{ setting('job_flow_role') }}",
    "ServiceRole": "{{ setting('service_role') }}",
    "Instances": {
        "InstanceGroups": [
            {"Name": "Primary", "InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
        ],
        "Ec2SubnetId": "{{ setting('subnet_id') }}",
        "KeepJobFlowAliveWhenNoSteps": True,
    },
    "BootstrapActions": [
        {
            "Name": "Python packages",
            "ScriptBootstrapAction": {"Path": "s3://{{ setting('bucket') }}/jobs/install_python_packages.sh"},
        }
    ],
}

ARGUMENTS = {
    "--server": "{{ setting('server') }}",
    "--port": "{{ setting('port', 1433) }}",
    "--encrypt": "{{ setting('encrypt', 'yes') }}",
    "--database": "{{ setting('database') }}",
    "--user": "{{ setting('user') }}",
    "--secret-id": "{{ setting('secret_id') }}",
    "--region": "{{ setting('region') }}",
    "--table": "sales.orders",
    "--partition-column": "order_id",
    # Hadoop does not accept a colon in a path.
    "--output": "s3://{{ setting('bucket') }}/sales.orders/dag={{ dag.dag_id }}/run={{ run_id | replace(':', '-') }}/",
}

with (
    DAG(
        "emr_livy_batch",
        description="Reads sales.orders from Azure SQL through Livy and a fixed IP address",
        schedule="@daily",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        # To be told of failures, add "on_failure_callback".
        default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
        user_defined_macros={"setting": setting},
        tags=["eip", "azure-sql", "livy"],
    ) as dag,
    StaticIpCluster(
        "azure", allocation_id="{{ setting('allocation_id') }}", job_flow_overrides=CLUSTER, deferrable=True
    ) as cluster,
):
    LivyBatchWithStaticIpOperator(
        task_id="read",
        name="read sales.orders",
        file="s3://{{ setting('bucket') }}/jobs/read_azure_sql.py",
        args=[text for argument in ARGUMENTS.items() for text in argument],
        allocation_id="{{ setting('allocation_id') }}",
        job_flow_id=cluster.job_flow_id,
        livy_conn_id="livy_default",
        deferrable=True,
        execution_timeout=timedelta(minutes=90),  # for each try; a hung batch would keep the address for a day
    )
