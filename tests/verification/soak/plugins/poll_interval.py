"""An Airflow plugin that shortens the provider's poll intervals.

They are real seconds, so with those of production a run would take twice as long.
"""

from __future__ import annotations

import json
import os

from airflow.plugins_manager import AirflowPlugin

from airflow_eip_provider.operators import phases
from airflow_eip_provider.triggers import lock

phases.SHORTEST_DEFERRAL_SECONDS = lock.SHORTEST_POLL_SECONDS = json.loads(os.environ["SOAK"])["poll_seconds"]


class PollInterval(AirflowPlugin):
    """Makes Airflow import this file."""

    name = "soak_poll_interval"
