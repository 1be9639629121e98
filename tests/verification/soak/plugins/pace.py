"""An Airflow plugin that does nothing but let the product look more often: its waits run on the soak's clock, too.

They are real seconds, and with those of production a run would take twice as long.
"""

from __future__ import annotations

import json
import os

from airflow.plugins_manager import AirflowPlugin

from airflow_eip_provider.operators import phases
from airflow_eip_provider.triggers import lock

phases.SHORTEST_DEFERRAL_SECONDS = lock.SHORTEST_POLL_SECONDS = json.loads(os.environ["SOAK"])["look_seconds"]


class Pace(AirflowPlugin):
    """Nothing but a reason for Airflow to import this file."""

    name = "soak_pace"
