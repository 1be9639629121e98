"""Where a soak takes place: the local EMR with its weather, a real Airflow, and what is done to both."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3

from harness.airflow import FINAL_RUN_STATES
from local_emr import LocalAws, ScaledClock
from tests.real_airflow import real_airflow
from tests.verification.soak import plan, weather
from tests.verification.soak.airflow import Run, SoakRest, without_heartbeat
from tests.verification.soak.gauge import Gauge
from tests.verification.soak.harm import Harm
from tests.verification.stress.weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.processes import Children
    from local_emr.events import Event
    from tests.real_airflow import RealAirflow
    from tests.verification.soak.airflow import Try
    from tests.verification.soak.gauge import Reading
    from tests.verification.soak.plan import Options

_CREDENTIALS = {"aws_access_key_id": "soak", "aws_secret_access_key": "local-soak"}
_TICK_SECONDS = 0.5
_LOOK_SECONDS = 3.0
_TOLD_RUNS = 10
TABLE = "airflow-eip-leases"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What is left of a soak for the judge.

    :param events: the local EMR's log; what was done to processes and tasks ("harm") is in it, too.
    :param wanted: how many runs there were to be.
    :param runs: every run as it ended, or not.
    :param tries: the tries of all their tasks, with simulated times.
    :param readings: the triggerers', as long as the load was the same.
    :param lost: the ids of the tries that Airflow gave up for want of a heartbeat.
    :param last: the run after all others, in fine weather.
    """

    events: list[Event]
    wanted: int
    runs: list[Run]
    tries: list[Try]
    readings: list[Reading]
    lost: frozenset[str]
    last: Run | None
    wall_seconds: float
    simulated_seconds: float


class Arena:
    """
    One soak.

    :param directory: for Airflow's home and the logs.
    :param say: tells a person how it goes.
    """

    def __init__(self, options: Options, directory: Path, *, children: Children, say: Callable[[str], None]) -> None:
        self._options = options
        self._directory = directory
        self._children = children
        self._say = say
        self._weather = Weather(
            options.seed,
            time_scale=options.time_scale,
            rates=weather.RATES,
            cluster_rates=weather.CLUSTER_RATES,
        )
        self._zero = datetime.now(UTC)
        clock = ScaledClock(options.time_scale, start=self._zero)
        self._aws = LocalAws(clock=clock, durations=plan.DURATIONS, state_dir=directory / "aws")
        self._aws.faults = self._weather
        self._aws.reset()  # the clusters' lives begin anew, in this weather
        self._gauge = Gauge()
        self._airflow: RealAirflow
        self._rest: SoakRest
        self._harm: Harm
        self._created: list[Run] = []
        self._ended: dict[tuple[str, str], Run] = {}
        self._wanted = options.runs
        self._begun = 0.0

    def run(self) -> Outcome:
        """Live all runs."""
        with self._aws:
            self._set_up()
            self._weather.calm = False
            self._begun = time.monotonic()
            self._say("the first runs are created")
            readings = self._live()
            wall = time.monotonic() - self._begun
            self._weather.calm = True
            last = self._one_more() if len(self._ended) == self._wanted else None
            self._wait_for_the_end()
            runs = [self._ended.get((run.dag_id, run.run_id), run) for run in self._created]
            tries = [self._simulated(one) for run in runs for one in self._rest.tries(run)]
        return Outcome(
            events=self._aws.events.read(),
            wanted=self._wanted,
            runs=runs,
            tries=tries,
            readings=readings,
            lost=without_heartbeat(self._directory / "logs" / "airflow-scheduler.log"),
            last=last,
            wall_seconds=wall,
            simulated_seconds=wall * self._options.time_scale,
        )

    def _set_up(self) -> None:
        ec2 = boto3.client("ec2", endpoint_url=self._aws.endpoint_url, region_name=self._aws.region, **_CREDENTIALS)
        soak = {
            "allocation_id": ec2.allocate_address(Domain="vpc")["AllocationId"],
            "subnet_id": ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            "dags": self._options.dags,
            "active_runs": max(2, -(-self._options.depth // self._options.dags)),
            "idle_seconds": plan.IDLE_SECONDS,
            "short": plan.SHORT_STEP,
            "long": plan.LONG_STEP,
            "look_seconds": plan.LOOK_SECONDS,
        }
        where = urlencode({"endpoint_url": self._aws.endpoint_url, "region_name": self._aws.region})
        settings = {
            **{f"AIRFLOW__{name}": value for name, value in plan.AIRFLOW.items()},
            "AIRFLOW_CONN_AWS_DEFAULT": f"aws://{':'.join(_CREDENTIALS.values())}@/?{where}",
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
        self._rest = SoakRest(self._airflow.url)
        self._airflow.migrate()
        self._airflow.start()
        self._airflow.wait_for_dags(set(self._options.dag_ids))
        self._harm = Harm(self._options, self._airflow, self._rest, note=self._note)

    def _note(self, **what: Any) -> None:
        self._aws.events.append("harm", **what)
        self._say("harm: " + ", ".join(str(value) for value in what.values()))

    def _live(self) -> list[Reading]:
        """Keep as many runs under way as are to be, until all have ended or nothing moves any more."""
        loaded, looked, moved = 0, 0.0, time.monotonic()
        while len(self._ended) < self._wanted:
            self._children.check()
            now = time.monotonic()
            if now - self._begun > self._options.minutes * 60 and self._created:
                self._wanted = len(self._created)
            if now - looked >= _LOOK_SECONDS:
                before, looked = len(self._ended), now
                self._look()
                moved = now if len(self._ended) > before else moved
            if now - moved > plan.STALL_SECONDS:
                self._say(f"nothing has ended for {plan.STALL_SECONDS:.0f} s")
                break
            self._create()
            self._harm.tick(len(self._ended))
            self._gauge.read(self._airflow.pid_of())
            if len(self._created) < self._wanted or not loaded:
                loaded = len(self._gauge.readings)
            time.sleep(_TICK_SECONDS)
        return self._gauge.readings[:loaded]

    def _create(self) -> None:
        while len(self._created) < min(self._wanted, len(self._ended) + self._options.depth):
            dag_id, date = self._options.run(len(self._created))
            self._created.append(Run(dag_id, self._rest.create_run(dag_id, date), "queued"))

    def _look(self) -> None:
        told = len(self._ended) // _TOLD_RUNS
        for dag_id in self._options.dag_ids:
            for run in self._rest.runs(dag_id):
                if run.state in FINAL_RUN_STATES:
                    self._ended[run.dag_id, run.run_id] = run
                else:
                    # A clear may have come just before the end.
                    self._ended.pop((run.dag_id, run.run_id), None)
        if len(self._ended) // _TOLD_RUNS > told or len(self._ended) == self._wanted:
            self._tell()

    def _tell(self) -> None:
        ended, seconds = len(self._ended), time.monotonic() - self._begun
        failed = sum(run.state == "failed" for run in self._ended.values())
        faults = len(self._aws.events.read(kind="fault"))
        harm = len(self._aws.events.read(kind="harm"))
        now = self._gauge.readings[-1] if self._gauge.readings else None
        triggerer = f"; triggerer {now.rss_mb:.0f} MB, {now.handles} handles" if now else ""
        self._say(
            f"{ended} of {self._wanted} runs ended, {failed} failed; {faults} faults, {harm} kills and clears; "
            f"{seconds / ended:.1f} s a run{triggerer}"
        )

    def _one_more(self) -> Run:
        """
        Let one more run have the address, in fine weather: it takes over whatever the last ones have left.

        It shows that nothing is jammed, and a lease whose owner is gone is ended by the next one only.
        """
        dag_id, date = self._options.run(len(self._created))
        run_id = self._rest.create_run(dag_id, date)
        deadline = time.monotonic() + plan.STALL_SECONDS
        while time.monotonic() < deadline:
            self._children.check()
            state = self._rest.run_state(dag_id, run_id)
            if state in FINAL_RUN_STATES:
                return Run(dag_id, run_id, state)
            time.sleep(_LOOK_SECONDS)
        return Run(dag_id, run_id, "stuck")

    def _wait_for_the_end(self) -> None:
        """Let EMR end what is ending; what nobody ends does so when it has been idle for long enough."""
        takes = (plan.IDLE_SECONDS + plan.DURATIONS.terminating) / self._options.time_scale + 10
        deadline = time.monotonic() + takes
        while time.monotonic() < deadline and any(cluster.ended is None for cluster in self._aws.emr.life.clusters):
            time.sleep(_TICK_SECONDS)

    def _simulated(self, one: Try) -> Try:
        """Put a try's times onto the event log's clock."""
        return one.at(zero=self._zero, scale=self._options.time_scale)
