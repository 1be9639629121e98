"""What every task imports and reads, once for all: the scheduler forks the tasks' processes."""

from __future__ import annotations

import functools

import boto3
from botocore.loaders import JSONFileLoader

import airflow_eip_provider.task_groups.emr  # noqa: F401

# Every hook makes a session of its own, and each would parse the service models anew: EC2's alone takes 0.3 s.
_parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
JSONFileLoader.load_file = lambda _, file_path: _parse(file_path)
for _service in ("dynamodb", "ec2", "emr"):
    boto3.client(_service, region_name="eu-west-1", aws_access_key_id="none", aws_secret_access_key="none")
