"""The size of a soak, and the speed of its clock; the numbers are chosen for two cores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from local_emr import Durations

TASKS = ("azure.create", "azure.bound", "azure.read", "azure.terminate")
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
IDLE_SECONDS = 7200
# The soak is stuck when no run has ended for this many real seconds.
STALL_SECONDS = 900.0
SHORT_STEP, LONG_STEP = 10, 150
# The shortest poll interval; in production it is 10 in most waits and 15 in the queue. See plugins/poll_interval.py.
POLL_SECONDS = 4

DURATIONS = Durations(
    fulfilment=2,
    instance_boot=4,
    starting=8,
    bootstrapping=4,
    terminating=100,
    instance_shutdown=10,
    address_drop=5,
)

# Settings in addition to those of tests.real_airflow; a busy machine needs longer timeouts.
AIRFLOW = {
    "CORE__LAZY_LOAD_PLUGINS": "False",
    "CORE__PARALLELISM": "8",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
    "DATABASE__SQL_ALCHEMY_CONNECT_ARGS": "tests.verification.soak.plan.SQLITE",
}
SQLITE = {"timeout": 60}


@dataclass(frozen=True, slots=True)
class Options:
    """
    The size of a soak.

    :param runs: number of DAG runs.
    :param dags: DAGs that share the address.
    :param seed: decides on faults, kills and clears.
    :param time_scale: simulated seconds per real second.
    :param depth: number of runs that are active at any time; one of them has the address.
    :param minutes: real time after which no run is created.
    """

    runs: int
    dags: int
    seed: int
    time_scale: float
    depth: int
    minutes: float

    @property
    def dag_ids(self) -> tuple[str, ...]:
        return tuple(f"shared_address_{number}" for number in range(self.dags))

    def run(self, number: int) -> tuple[str, datetime]:
        """Return DAG and logical date of a run; the first is number 0."""
        return self.dag_ids[number % self.dags], FIRST_DAY + timedelta(days=number // self.dags)

    @property
    def task_kills(self) -> int:
        """Number of SIGKILLs of task processes."""
        return max(2, self.runs // 5)

    @property
    def clears(self) -> int:
        """Number of clears of tasks in active runs."""
        return max(1, self.runs // 15)

    @property
    def triggerer_kills(self) -> int:
        """Number of SIGKILLs of the triggerer, all in the first third of the runs."""
        return max(1, self.runs // 40)
