"""Run the demo: ``python -m demo [--keep]``; its exit code is 0 when every check passes."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from demo import checks, node_checks, nodes
from demo.aws import ACTIVE_STATES, REGION, AwsError
from demo.local import LocalAws
from demo.observe import count_descendants
from demo.queue import TABLE, rows, standings
from demo.results import parquet_rows
from demo.run import Story
from demo.seed import Seed, database_rows, seed
from demo.tables import TABLES
from demo.timeline import chart, clock, moment, moments_rows, sessions
from harness.airflow import LOCAL_ONLY, Airflow
from harness.calls import call_rows, count_calls
from harness.console import Console, table
from harness.processes import Children, ProcessError, left_running

if TYPE_CHECKING:
    from types import FrameType

    from demo.checks import Check
    from demo.timeline import Session
    from harness.judge import Event

ROOT = Path(__file__).resolve().parent.parent
DAG_IDS = (TABLES[0].dag_id, TABLES[1].dag_id)
KILLED = "killed_daily"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards, until Ctrl-C")
    parser.add_argument("--time-scale", type=float, default=5.0, help="simulated seconds a real second (%(default)s)")
    parser.add_argument("--state", type=Path, default=ROOT / ".demo", help="a directory of its own; emptied first")
    parser.add_argument("--airflow-port", type=int, help="default: any free port")
    parser.add_argument("--aws-port", type=int, help="default: any free port")
    return parser.parse_args(arguments)


def fresh_state(directory: Path) -> None:
    """
    Make an empty directory for this demo.

    :raises ProcessError: when processes of an earlier demo still run.
    """
    if left := left_running(directory):
        names = ", ".join(f"{name} ({pid})" for name, pid in left)
        end = " ".join(str(pid) for _, pid in left)
        raise ProcessError(f"processes of an earlier demo still run: {names}; end them with: kill {end}")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


# A deferred task of an Airflow on a busy laptop goes on well within this.
_GRACE_REAL_SECONDS = 120
_LONGEST_GRACE = 86_400


class Demo:
    """The whole demo, from nothing to the table of checks."""

    def __init__(self, *, console: Console, children: Children, options: argparse.Namespace) -> None:
        self.console = console
        self.children = children
        self.time_scale: float = options.time_scale
        self.state: Path = options.state
        self.aws = LocalAws(children, state=self.state / "aws", time_scale=options.time_scale, port=options.aws_port)
        self._airflow_port: int | None = options.airflow_port
        self.airflow: Airflow
        self.seed: Seed

    def set_up(self) -> None:
        """Start the local EMR and Airflow."""
        self.console.step("starting the local EMR and the Azure SQL stand-in")
        self.aws.start()
        self.seed = seed(self.aws, jobs=ROOT / "dags" / "jobs")
        self.console.step(
            f"Elastic IP {self.seed.public_ip} ({self.seed.allocation_id}) is registered with the database's firewall; "
            + " and ".join(f"{table.name} has {table.rows:,} rows" for table in TABLES)
        )
        settings = {
            "AIRFLOW_CONN_AWS_DEFAULT": self.aws.connection,
            "AIRFLOW_VAR_AZURE_SQL": json.dumps(self.seed.variable),
            "AIRFLOW_VAR_PRIVATE_NETWORK": json.dumps(nodes.private_network(self.aws.client("ec2"))),
            "AIRFLOW__EIP__ENVIRONMENT": "demo",
            "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://{TABLE}?region={REGION}&create=true&grace={self._grace}",
        }
        self.airflow = Airflow(
            self.children, home=self.state / "airflow", dags=self._dags(), extra=settings, port=self._airflow_port
        )
        self.console.step("starting Airflow: api-server, scheduler, dag-processor and triggerer")
        self.airflow.migrate()
        self.airflow.start()
        self.airflow.wait_for_dags({*DAG_IDS, KILLED, nodes.PRIMARY, nodes.GATEWAY})
        self.console.step(f"Airflow runs at {self.airflow.url}")

    @property
    def _grace(self) -> str:
        """In simulated seconds; Airflow is as slow as ever while AWS's clock runs fast."""
        return f"{min(_GRACE_REAL_SECONDS * self.time_scale, _LONGEST_GRACE):.0f}"

    def _dags(self) -> Path:
        """Put the example DAGs and the demo's own into one folder."""
        folder = self.state / "dags"
        folder.mkdir()
        for file in (ROOT / "dags" / "azure_sql_daily.py", *(ROOT / "demo" / "dags").glob("*.py")):
            shutil.copy(file, folder)
        return folder

    def play(self) -> list[Check]:
        """Run the DAGs, print what happened, and return the verdicts."""
        story = Story(
            console=self.console,
            children=self.children,
            airflow=self.airflow,
            aws=self.aws,
            killed=KILLED,
            dag_ids=DAG_IDS,
        )
        story.play()
        events = self.aws.events()
        found = sessions(events)
        self.console.step("all runs have ended")
        self._show(events, found, story)
        verdicts = self._checks(events, found, story)
        most = max((sample.step_processes for sample in story.samples), default=0)
        return [*verdicts, *self._many_nodes(), self._nothing_left(most)]

    def _many_nodes(self) -> list[Check]:
        """Play the second act, print what the database saw of it, and return its verdicts."""
        self.console.heading("The same step on three nodes: the address on the primary node, then on a NAT gateway")
        act = nodes.ManyNodes(
            console=self.console,
            children=self.children,
            airflow=self.airflow,
            aws=self.aws,
            allocation_id=self.seed.allocation_id,
        )
        self.console.lines(
            f"{nodes.PRIMARY} has on_multi_node='allow': its executors have other addresses, and it fails for that.",
            f"{nodes.GATEWAY} puts the address on a NAT gateway, through which all its nodes leave.",
        )
        act.play()
        events = self.aws.events()
        clusters = {dag_id: act.cluster(dag_id) for dag_id in (nodes.PRIMARY, nodes.GATEWAY)}
        self.console.heading(f"What the database saw of them; its firewall admits {self.seed.public_ip}")
        header = ("", "from", "answer", "nodes", "connections")
        self.console.lines(*table(nodes.rows(events, clusters), header=header, right=frozenset({3, 4})))
        (read,) = (each for each in TABLES if each.name == nodes.TABLE)
        seen = {"public_ip": self.seed.public_ip}
        return [
            node_checks.executors_refused(
                events, job_flow_id=clusters[nodes.PRIMARY], state=act.states.get(nodes.PRIMARY, ""), **seen
            ),
            node_checks.every_node_admitted(
                events, job_flow_id=clusters[nodes.GATEWAY], state=act.states.get(nodes.GATEWAY, ""), **seen
            ),
            checks.rows_equal(
                nodes.GATEWAY,
                expected=database_rows(self.aws, read),
                found=parquet_rows(self.aws, read, folder=self.state / "results", prefix=nodes.GATEWAY),
            ),
            node_checks.as_before(act.before, act.after, events=events, clusters=clusters),
        ]

    def _show(self, events: list[Event], found: list[Session], story: Story) -> None:
        start = min(story.wanted_since.values())
        self.console.heading(f"Timeline (minutes of simulated time, {self.time_scale:g} times as fast)")
        self.console.lines(*chart(found, start=start, waiting_since=story.wanted_since), "")
        header = ("", *(session.owner for session in found))
        self.console.lines(*table(moments_rows(found, start=start), header=header))
        self.console.heading("The queue, from every write of the lock's record")
        states = standings(events, at=lambda event: moment(event).time)
        self.console.lines(*table(rows(states, start=start, clock=clock), header=("", "lease", "queue")))
        self.console.heading("AWS calls of the two lease periods, by who made them")
        counts = count_calls(events, dag_ids=DAG_IDS)
        self.console.lines(*table(call_rows(counts), header=("", *counts), right=frozenset(range(1, len(counts) + 1))))

    def _checks(self, events: list[Event], found: list[Session], story: Story) -> list[Check]:
        samples, stranger = story.samples, story.stranger
        states = standings(events, at=lambda event: moment(event).time)
        everyone, found = found, [session for session in found if session.owner in DAG_IDS]
        waited = checks.deferred_seconds(samples)
        return [
            checks.runs_succeeded(story.states, tries=story.tries, killed=KILLED),
            checks.killed_was_adopted(everyone, killed=KILLED),
            *(
                checks.rows_equal(
                    table.dag_id,
                    expected=database_rows(self.aws, table),
                    found=parquet_rows(self.aws, table, folder=self.state / "results"),
                )
                for table in TABLES
            ),
            checks.read_from_the_address(events, found=found, public_ip=self.seed.public_ip),
            checks.refused_without_address(
                events, job_flow_id=stranger.job_flow_id, step_state=stranger.step_state, log=stranger.log
            ),
            checks.sessions_do_not_overlap(events, found=everyone),
            checks.second_waited(samples, found=found, waiting_dag=found[-1].owner if found else ""),
            checks.first_come_first_served(states, found=everyone),
            checks.nobody_pays_for_waiting(everyone),
            checks.three_writes_a_session(states),
            checks.lease_is_free(states),
            checks.bound_before_ready(found),
            checks.never_steals(events, periods_seen=len(everyone)),
            *(checks.create_takes_no_worker(samples, session=session, task_id="azure.create") for session in found),
            checks.waits_take_no_worker(samples),
            checks.calls_bounded(count_calls(events, dag_ids=DAG_IDS), waited_seconds=waited),
        ]

    def _nothing_left(self, seen: int) -> Check:
        pages = self.aws.client("emr").get_paginator("list_clusters").paginate(ClusterStates=ACTIVE_STATES)
        address = self.aws.client("ec2").describe_addresses(AllocationIds=[self.seed.allocation_id])["Addresses"][0]
        return checks.nothing_left(
            active_clusters=[cluster["Id"] for page in pages for cluster in page["Clusters"]],
            association_id=address.get("AssociationId"),
            step_processes=count_descendants(self.aws.pid),
            seen=seen,
        )

    def stay(self) -> None:
        """Leave everything running until Ctrl-C."""
        self.console.heading("Everything goes on running")
        self.console.lines(
            f"Airflow UI   {self.airflow.url}",
            f"Local EMR    {self.aws.url} (AWS_ENDPOINT_URL; what happened: {self.aws.url}/_local/events)",
            f"Logs         {self.state / 'logs'}",
            "Ctrl-C stops it all.",
        )
        while True:
            self.children.check()
            time.sleep(1)


def report(console: Console, verdicts: list[Check], *, state: Path) -> bool:
    """Print the table of checks and return whether all passed."""
    console.heading("Checks")
    console.lines(
        *table([(check.name, check.verdict, check.detail) for check in verdicts], header=("check", "", "seen"))
    )
    failed = [check.name for check in verdicts if not check.passed]
    summary = f"{len(failed)} of {len(verdicts)} checks FAILED" if failed else f"all {len(verdicts)} checks PASS"
    console.lines("", f"{summary}, after {console.elapsed_seconds:.0f} s")
    if failed:
        console.lines(f"Logs: {state / 'logs'}; of tasks: {state / 'airflow' / 'logs'}; of AWS: {state / 'aws'}")
    return not failed


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = parse(arguments)
    options.state = options.state.resolve()
    console = Console()
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.update(LOCAL_ONLY)
    try:
        fresh_state(options.state)
    except ProcessError as error:
        console.lines(f"The demo cannot start: {error}")
        return 2
    children = Children(directory=options.state)
    passed = False
    try:
        demo = Demo(console=console, children=children, options=options)
        demo.set_up()
        passed = report(console, demo.play(), state=options.state)
        if options.keep:
            demo.stay()
    except (ProcessError, AwsError) as error:
        console.lines("", f"The demo stopped: {error}")
    except KeyboardInterrupt:
        console.lines("", "Interrupted.")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        console.step("stopping everything")
        children.stop()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
