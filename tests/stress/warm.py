"""What every worker process begins with, imported once by what forks them: Airflow, and AWS's service models.

The models are parsed once: every hook makes a session of its own, and each would parse them anew.
"""

from __future__ import annotations

import functools

import boto3
from botocore.loaders import JSONFileLoader

from tests.stress import worker

__all__ = ["worker"]

_parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
JSONFileLoader.load_file = lambda _, path: _parse(path)

for _service in ("ec2", "emr", "dynamodb", "s3"):
    boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1").client(_service)
