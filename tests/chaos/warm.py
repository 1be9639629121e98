"""What every process begins with, imported once by what forks them; AWS's service models are parsed once, too."""

from __future__ import annotations

import functools

import aiobotocore.endpoint
import aiobotocore.session
import aiobotocore.waiter
import boto3
import botocore.waiter
from airflow.sdk.execution_time import task_runner
from airflow.sdk.plugins_manager import integrate_macros_plugins
from botocore.loaders import JSONFileLoader

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from tests.chaos import child, plans, scheduler

__all__ = ["aiobotocore", "botocore", "child", "plans", "scheduler", "task_runner"]

_parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
JSONFileLoader.load_file = lambda _, path: _parse(path)

integrate_macros_plugins()
for _hook in (ElasticIpHook, EmrClusterHook):
    _hook(aws_conn_id=None, region_name="eu-west-1").get_client_type()
for _service in ("ec2", "emr", "dynamodb", "s3"):
    boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1").client(_service)
