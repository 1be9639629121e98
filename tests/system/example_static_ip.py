"""A system test in Airflow's form: a cluster with an Elastic IP on a real AWS account, or on a local EMR.

It launches a single-node cluster, binds the address, runs the egress probe as a step, terminates the cluster, and
checks that the address is free. It costs what one instance costs for as long as a cluster takes to start, and a little
more. So far it has run on the local EMR only.

To run it, configure AWS credentials as for the AWS CLI, and set these variables::

    export AIRFLOW_HOME=$(mktemp -d) AIRFLOW__CORE__DAGS_FOLDER=$PWD/tests/system
    export AIRFLOW__CORE__LOAD_EXAMPLES=False
    airflow db migrate
    export SYSTEM_TESTS_ENV_ID=me                     # distinguishes your runs from those of others
    export ALLOCATION_ID=eipalloc-... SUBNET_ID=subnet-... AWS_DEFAULT_REGION=eu-west-1
    pytest tests/system/example_static_ip.py          # or: python tests/system/example_static_ip.py

Optional variables are ``RELEASE_LABEL``, ``INSTANCE_TYPE``, ``SERVICE_ROLE``, ``INSTANCE_PROFILE``, ``LOG_URI``,
``ECHO_URL`` and ``WAITER_DELAY``. With ``AIRFLOW__EIP__LOCK_STORE`` and ``AIRFLOW__EIP__ENVIRONMENT`` it queues with
the other jobs that share the address.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.airflow_compat import BaseOperator
from airflow_eip_provider.egress_probe import ECHO_URL, egress_probe_step
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.sensors.eip import EipAssociationSensor

try:
    from airflow.sdk import DAG, chain
except ImportError:  # Airflow 2
    from airflow.models import DAG
    from airflow.models.baseoperator import chain

if TYPE_CHECKING:
    from collections.abc import Callable

DAG_ID = "example_static_ip"
ENV_ID = os.environ.get("SYSTEM_TESTS_ENV_ID", "default")
# Without these two the DAG can be parsed, but its first task fails before anything is launched.
ALLOCATION_ID = os.environ.get("ALLOCATION_ID", "")
SUBNET_ID = os.environ.get("SUBNET_ID", "")
WAITER_DELAY = int(os.environ.get("WAITER_DELAY", "15"))

JOB_FLOW_OVERRIDES: dict[str, Any] = {
    "Name": f"{ENV_ID}-static-ip",
    "ReleaseLabel": os.environ.get("RELEASE_LABEL", "emr-7.5.0"),
    "Applications": [{"Name": "Hadoop"}],
    "ServiceRole": os.environ.get("SERVICE_ROLE", "EMR_DefaultRole"),
    "JobFlowRole": os.environ.get("INSTANCE_PROFILE", "EMR_EC2_DefaultRole"),
    "Instances": {
        "InstanceGroups": [
            {
                "InstanceRole": "MASTER",
                "InstanceType": os.environ.get("INSTANCE_TYPE", "m5.xlarge"),
                "InstanceCount": 1,
            }
        ],
        "Ec2SubnetId": SUBNET_ID,
        "KeepJobFlowAliveWhenNoSteps": True,
    },
    **({"LogUri": os.environ["LOG_URI"]} if "LOG_URI" in os.environ else {}),
}


class WatcherOperator(BaseOperator):
    """Fails the run if any task has failed, as ``tests_common.test_utils.watcher`` does in Airflow's source tree."""

    def execute(self, context: Any) -> None:
        """Fail."""
        raise RuntimeError("a task failed; see its log")


with DAG(
    DAG_ID,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    default_args={"aws_conn_id": None, "deferrable": False},
    tags=["example"],
) as dag:
    # TEST SETUP
    create_cluster = EmrCreateWithStaticIpOperator(
        task_id="create_cluster",
        allocation_id=ALLOCATION_ID,
        job_flow_overrides=JOB_FLOW_OVERRIDES,
        emr_conn_id=None,
        idle_timeout=timedelta(minutes=15),
        waiter_delay=WAITER_DELAY,
    )

    # TEST BODY
    probe_egress = EmrAddStepsWithStaticIpOperator(
        task_id="probe_egress",
        allocation_id=ALLOCATION_ID,
        job_flow_id=create_cluster.output,
        steps=[
            egress_probe_step(
                public_ip="{{ ti.xcom_pull(task_ids='create_cluster', key='public_ip') }}",
                echo_url=os.environ.get("ECHO_URL", ECHO_URL),
            )
        ],
        waiter_delay=WAITER_DELAY,
        waiter_max_attempts=240,
    )

    # TEST TEARDOWN
    terminate_cluster = EmrTerminateWithStaticIpOperator(
        task_id="terminate_cluster",
        allocation_id=ALLOCATION_ID,
        job_flow_id=create_cluster.output,
        waiter_delay=WAITER_DELAY,
    ).as_teardown(setups=create_cluster, on_failure_fail_dagrun=True)
    is_free = EipAssociationSensor(
        task_id="is_free",
        allocation_id=ALLOCATION_ID,
        expect="free",
        poke_interval=WAITER_DELAY,
        timeout=300,
        trigger_rule="all_done",
    )

    chain(create_cluster, probe_egress, terminate_cluster, is_free)

    # The state of a run is that of its last tasks, and the sensor runs even after a failure. In Airflow a task with
    # such a rule cannot follow a setup directly, so the setup's failure is passed on by the probe.
    [probe_egress, terminate_cluster, is_free] >> WatcherOperator(task_id="watcher", trigger_rule="one_failed")  # type: ignore[operator]


def get_test_run(dag: Any) -> Callable[[], None]:
    """Return a test for pytest, as ``tests_common.test_utils.system_tests.get_test_run`` in Airflow's source tree."""

    def test_run() -> None:
        state = dag.test().state
        assert str(getattr(state, "value", state)) == "success", f"the DAG run ended {state}"

    return test_run


# pytest finds the test by its name.
test_run = get_test_run(dag)

if __name__ == "__main__":
    test_run()
