"""
For the folder of Airflow's plugins: what every task imports and reads, once for all.

The scheduler forks the processes of the tasks, so each has what the scheduler has imported.
"""

from __future__ import annotations

import boto3

import airflow_eip_provider.task_groups.emr  # noqa: F401

_nobody = boto3.Session(aws_access_key_id="-", aws_secret_access_key="-", region_name="eu-west-1")  # noqa: S106
for _service in ("dynamodb", "ec2", "emr"):
    _nobody.client(_service)
