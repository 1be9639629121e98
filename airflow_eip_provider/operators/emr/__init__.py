"""EMR clusters with an Elastic IP: create a cluster, run fenced steps on it, terminate it."""

from airflow_eip_provider.operators.emr.create import EmrCreateWithStaticIpOperator
from airflow_eip_provider.operators.emr.steps import EmrAddStepsWithStaticIpOperator
from airflow_eip_provider.operators.emr.terminate import EmrTerminateWithStaticIpOperator

__all__ = ["EmrAddStepsWithStaticIpOperator", "EmrCreateWithStaticIpOperator", "EmrTerminateWithStaticIpOperator"]
