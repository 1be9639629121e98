"""What every task imports and reads, once for all: the scheduler forks the tasks' processes."""

from __future__ import annotations

import airflow_eip_provider.task_groups.emr  # noqa: F401
from harness.service_models import parse_now

parse_now("dynamodb", "ec2", "emr")
