"""Imported once by the process that forks all others: Airflow, and AWS's service models."""

from __future__ import annotations

import gc

import aiobotocore.endpoint
import aiobotocore.session
import aiobotocore.waiter
import botocore.waiter
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk.execution_time import task_runner
from airflow.sdk.plugins_manager import integrate_macros_plugins

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from harness.service_models import parse_now
from tests.verification.chaos import child, plans, scheduler

__all__ = ["aiobotocore", "botocore", "child", "plans", "scheduler", "task_runner"]

# Finding the operator's name for the user agent reads the source of every stack frame: a sixth of a process's time.
AwsBaseHook._get_caller = lambda *_: "Unknown"
parse_now("ec2", "emr", "dynamodb", "s3")
integrate_macros_plugins()
for _hook in (ElasticIpHook, EmrClusterHook):
    _hook(aws_conn_id=None, region_name="eu-west-1").get_client_type()
for _plan in (plans.OURS[0], plans.STOCK[0]):
    plans.build(_plan, plans.Stage("eipalloc-0", "subnet-0", "subnet-1", "rtb-0"))  # imports what a DAG needs
gc.collect()
gc.freeze()
