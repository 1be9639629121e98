"""
An Airflow plugin that imports what every task needs.

The scheduler loads it, and forks the processes of the tasks, so none of them has to import it again.
"""

from __future__ import annotations

import airflow_eip_provider.task_groups.emr  # noqa: F401
from harness.service_models import parse_now

parse_now("dynamodb", "ec2", "emr")
