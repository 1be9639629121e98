"""Runs the steps and bootstrap actions of local EMR clusters as real processes."""

from airflow_eip_provider.local_aws.steps.runner import ProcessStepRunner

__all__ = ["ProcessStepRunner"]
