"""Imports once, in the scheduler, what every task needs: the scheduler forks the processes of the tasks."""

from __future__ import annotations

import airflow_eip_provider.task_groups.emr  # noqa: F401
from harness.service_models import parse_now

parse_now("dynamodb", "ec2", "emr")
