"""The environment of a soak: the local EMR with random faults, and a real Airflow with disruptions."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from harness.airflow import FINAL_RUN_STATES, aws_connection
from harness.wait import wait_for_clusters_to_end
from local_emr import LocalAws, ScaledClock
from tests.real_airflow import real_airflow
from tests.verification.soak import fault_rates, plan
from tests.verification.soak.airflow_api import Run, SoakApi, tries_without_heartbeat
from tests.verification.soak.disruptions import Disruptions
from tests.verification.soak.resource_usage import ResourceMonitor
from tests.verification.stress.random_faults import RandomFaults

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.processes import Children
    from local_emr.events import Event
    from tests.real_airflow import RealAirflow
    from tests.verification.soak.airflow_api import Try
    from tests.verification.soak.plan import Options
    from tests.verification.soak.resource_usage import Sample

_TICK_SECONDS = 0.5
_POLL_SECONDS = 3.0
_RUNS_PER_REPORT = 10
TABLE = "airflow-eip-leases"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The input of the judge.

    :param events: the local EMR's log, including the disruptions.
    :param wanted: the planned number of runs.
    :param runs: every run with its last state.
    :param tries: the tries of all their tasks, with simulated times.
    :param samples: resource usage of the triggerers while the load was constant.
    :param lost: the ids of the tries that Airflow failed because of a missing heartbeat.
    :param last: the run after all others, without faults.
    """

    events: list[Event]
    wanted: int
    runs: list[Run]
    tries: list[Try]
    samples: list[Sample]
    lost: frozenset[str]
    last: Run | None
    wall_seconds: float
    simulated_seconds: float


class Environment:
    """
    Sets up and runs one soak.

    :param directory: for Airflow's home and the logs.
    :param report_progress: is called with lines of text about the progress.
    """

    def __init__(
        self, options: Options, directory: Path, *, children: Children, report_progress: Callable[[str], None]
    ) -> None:
        self._options = options
        self._directory = directory
        self._children = children
        self._report_progress = report_progress
        self._faults = RandomFaults(
            options.seed,
            time_scale=options.time_scale,
            rates=fault_rates.RATES,
            cluster_rates=fault_rates.CLUSTER_RATES,
        )
        self._zero = datetime.now(UTC)
        clock = ScaledClock(options.time_scale, start=self._zero)
        self._aws = LocalAws(clock=clock, durations=plan.DURATIONS, state_dir=directory / "aws")
        self._aws.faults = self._faults
        self._aws.reset()  # only clusters that are made after this take their faults from it
        self._resource_monitor = ResourceMonitor()
        self._airflow: RealAirflow
        self._api: SoakApi
        self._disruptions: Disruptions
        self._created: list[Run] = []
        self._ended: dict[tuple[str, str], Run] = {}
        self._wanted = options.runs
        self._begun = 0.0

    def run(self) -> Outcome:
        with self._aws:
            self._set_up()
            self._faults.paused = False
            self._begun = time.monotonic()
            self._report_progress("the first runs are created")
            samples = self._keep_runs_active()
            wall = time.monotonic() - self._begun
            self._faults.paused = True
            last = self._last_run() if len(self._ended) == self._wanted else None
            wait_for_clusters_to_end(self._aws, plan.IDLE_SECONDS + plan.DURATIONS.terminating)
            runs = [self._ended.get((run.dag_id, run.run_id), run) for run in self._created]
            # With the times of the event log's clock.
            scale = self._options.time_scale
            tries = [each.at(zero=self._zero, scale=scale) for run in runs for each in self._api.tries(run)]
        return Outcome(
            events=self._aws.events.read(),
            wanted=self._wanted,
            runs=runs,
            tries=tries,
            samples=samples,
            lost=tries_without_heartbeat(self._directory / "logs" / "airflow-scheduler.log"),
            last=last,
            wall_seconds=wall,
            simulated_seconds=wall * self._options.time_scale,
        )

    def _set_up(self) -> None:
        session = boto3.Session("testing", "testing", region_name=self._aws.region)
        ec2 = session.client("ec2", endpoint_url=self._aws.endpoint_url)
        soak = {
            "allocation_id": ec2.allocate_address(Domain="vpc")["AllocationId"],
            "subnet_id": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            "dags": self._options.dags,
            "active_runs": max(2, -(-self._options.depth // self._options.dags)),
            "idle_seconds": plan.IDLE_SECONDS,
            "short": plan.SHORT_STEP,
            "long": plan.LONG_STEP,
            "poll_seconds": plan.POLL_SECONDS,
        }
        settings = {
            **{f"AIRFLOW__{name}": value for name, value in plan.AIRFLOW.items()},
            "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(self._aws.endpoint_url, region=self._aws.region),
            "AIRFLOW__EIP__ENVIRONMENT": "soak",
            "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://{TABLE}?create=true",
            "SOAK": json.dumps(soak),
        }
        here, dags = Path(__file__).parent, self._directory / "dags"
        shutil.copytree(here / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
        settings["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(here / "plugins")
        self._airflow = real_airflow(
            self._children, venv=Path(sys.prefix), state=self._directory, dags=dags, extra=settings
        )
        self._api = SoakApi(self._airflow.url)
        self._airflow.migrate()
        self._airflow.start()
        self._airflow.wait_for_dags(set(self._options.dag_ids))
        self._disruptions = Disruptions(self._options, self._airflow, self._api, log=self._log_disruption)

    def _log_disruption(self, **fields: Any) -> None:
        self._aws.events.append("disruption", **fields)
        self._report_progress("disruption: " + ", ".join(str(value) for value in fields.values()))

    def _keep_runs_active(self) -> list[Sample]:
        """Keep the planned number of runs active until all have ended or none ends any more; return the samples."""
        loaded, polled, progressed = 0, 0.0, time.monotonic()
        while len(self._ended) < self._wanted:
            self._children.check()
            now = time.monotonic()
            if now - self._begun > self._options.minutes * 60 and self._created:
                self._wanted = len(self._created)
            if now - polled >= _POLL_SECONDS:
                before, polled = len(self._ended), now
                self._read_run_states()
                progressed = now if len(self._ended) > before else progressed
            if now - progressed > plan.STALL_SECONDS:
                self._report_progress(f"no run has ended for {plan.STALL_SECONDS:.0f} s")
                break
            self._create_runs()
            self._disruptions.tick(len(self._ended))
            self._resource_monitor.sample(self._airflow.pid_of())
            # From the last creation on the load falls, and with it the triggerer's usage.
            if len(self._created) < self._wanted or not loaded:
                loaded = len(self._resource_monitor.samples)
            time.sleep(_TICK_SECONDS)
        return self._resource_monitor.samples[:loaded]

    def _create_runs(self) -> None:
        while len(self._created) < min(self._wanted, len(self._ended) + self._options.depth):
            dag_id, date = self._options.run(len(self._created))
            self._created.append(Run(dag_id, self._api.create_run(dag_id, date), "queued"))

    def _read_run_states(self) -> None:
        reported = len(self._ended) // _RUNS_PER_REPORT
        for dag_id in self._options.dag_ids:
            for run in self._api.runs(dag_id):
                if run.state in FINAL_RUN_STATES:
                    self._ended[run.dag_id, run.run_id] = run
                else:
                    # A task of an ended run may have been cleared.
                    self._ended.pop((run.dag_id, run.run_id), None)
        if len(self._ended) // _RUNS_PER_REPORT > reported or len(self._ended) == self._wanted:
            self._report_totals()

    def _report_totals(self) -> None:
        ended, seconds = len(self._ended), time.monotonic() - self._begun
        failed = sum(run.state == "failed" for run in self._ended.values())
        faults = len(self._aws.events.read(kind="fault"))
        disruptions = len(self._aws.events.read(kind="disruption"))
        now = self._resource_monitor.samples[-1] if self._resource_monitor.samples else None
        triggerer = f"; triggerer {now.rss_mb:.0f} MB, {now.handles} handles" if now else ""
        self._report_progress(
            f"{ended} of {self._wanted} runs ended, {failed} failed; {faults} faults, {disruptions} kills and clears; "
            f"{seconds / ended:.1f} s a run{triggerer}"
        )

    def _last_run(self) -> Run:
        """
        Run one more DAG run without faults.

        It shows that the address can still be acquired. It also ends the last leases: if an owner was killed, only the
        next owner ends its lease.
        """
        dag_id, date = self._options.run(len(self._created))
        run_id = self._api.create_run(dag_id, date)
        deadline = time.monotonic() + plan.STALL_SECONDS
        while time.monotonic() < deadline:
            self._children.check()
            state = self._api.run_state(dag_id, run_id)
            if state in FINAL_RUN_STATES:
                return Run(dag_id, run_id, state)
            time.sleep(_POLL_SECONDS)
        return Run(dag_id, run_id, "stuck")
