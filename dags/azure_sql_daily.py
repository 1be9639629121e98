"""Two daily jobs that read an Azure SQL Database from one Elastic IP, which its firewall admits.

Before you unpause the DAGs, upload the job and describe your resources in one Airflow Variable::

    aws s3 cp --recursive dags/jobs s3://BUCKET/jobs/
    airflow variables set azure_sql '{
        "allocation_id": "eipalloc-0123456789abcdef0", "subnet_id": "subnet-0123456789abcdef0",
        "region": "eu-west-1", "bucket": "BUCKET", "job_flow_role": "EMR_EC2_DefaultRole",
        "service_role": "EMR_DefaultRole", "server": "example.database.windows.net", "database": "sales",
        "user": "reader", "secret_id": "azure-sql/reader"}'

``region`` is the secret's; the clusters are launched in the region of the connection ``aws_default``. ``port`` (1433)
and ``encrypt`` ("yes") are optional keys. With a list of addresses as ``allocation_id``, or
``{"tag:purpose": "azure-sql"}``, each job takes any free one.

In case the subnet's zone has no capacity: uncomment FALLBACKS and ``fallbacks`` below, and add
``other_subnet_id``, a subnet in another Availability Zone, to the Variable.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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
        raise ValueError(f"Airflow Variable {VARIABLE!r} {problem}; the start of {__file__} shows what it holds")
    return value


# One node: executors connect from the address of the node that they run on.
CLUSTER = {
    "Name": "{{ dag.dag_id }}",
    "ReleaseLabel": "emr-7.5.0",
    "Applications": [{"Name": "Spark"}],
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

# FALLBACKS = [{"Instances": {"Ec2SubnetId": "{{ setting('other_subnet_id') }}"}}]


def read_step(*, table: str, partition_column: str) -> dict[str, Any]:
    """Return the step that copies a table to S3, each run to its own folder."""
    arguments = {
        "--server": "{{ setting('server') }}",
        "--port": "{{ setting('port', 1433) }}",
        "--encrypt": "{{ setting('encrypt', 'yes') }}",
        "--database": "{{ setting('database') }}",
        "--user": "{{ setting('user') }}",
        "--secret-id": "{{ setting('secret_id') }}",
        "--region": "{{ setting('region') }}",
        "--table": table,
        "--partition-column": partition_column,
        # Hadoop does not accept a colon in a path.
        "--output": f"s3://{{{{ setting('bucket') }}}}/{table}/dag={{{{ dag.dag_id }}}}"
        "/run={{ run_id | replace(':', '-') }}/",
    }
    job = "s3://{{ setting('bucket') }}/jobs/read_azure_sql.py"
    return {
        "Name": f"read {table}",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                "spark-submit",
                "--deploy-mode",
                "client",
                job,
                *(text for argument in arguments.items() for text in argument),
            ],
        },
    }


def read_daily(dag_id: str, *, table: str, partition_column: str) -> DAG:
    """Return the DAG that reads a table every day, on its own cluster, which has the address while it reads."""
    with (
        DAG(
            dag_id,
            description=f"Reads {table} from Azure SQL through a fixed IP address",
            schedule="@daily",
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            max_active_runs=1,
            # To be told of failures, add "on_failure_callback".
            default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
            user_defined_macros={"setting": setting},
            tags=["eip", "azure-sql"],
        ) as dag,
        StaticIpCluster(
            "azure",
            allocation_id="{{ setting('allocation_id') }}",
            job_flow_overrides=CLUSTER,
            # fallbacks=FALLBACKS,
            deferrable=True,
        ) as cluster,
    ):
        cluster.steps(
            [read_step(table=table, partition_column=partition_column)],
            task_id="read",
            execution_timeout=timedelta(minutes=90),  # for each try; a hung step would keep the address for a day
        )
    return dag


orders = read_daily("azure_sql_daily", table="sales.orders", partition_column="order_id")
customers = read_daily("azure_sql_daily_customers", table="sales.customers", partition_column="customer_id")
