"""EMR clusters that carry an Elastic IP: create one, run fenced steps on it, end it."""

from airflow_eip_provider.operators.emr.create import EmrCreateWithStaticIpOperator
from airflow_eip_provider.operators.emr.steps import EmrAddStepsWithStaticIpOperator
from airflow_eip_provider.operators.emr.terminate import EmrTerminateWithStaticIpOperator

__all__ = ["EmrAddStepsWithStaticIpOperator", "EmrCreateWithStaticIpOperator", "EmrTerminateWithStaticIpOperator"]
