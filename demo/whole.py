"""The whole demo, from the start of the processes to the table of checks."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from demo import checks, node_checks, nodes, standby, standby_checks, zone_checks, zones
from demo.aws import ACTIVE_STATES, REGION
from demo.local import LocalAws
from demo.observe import count_descendants
from demo.queue import TABLE, rows, standings
from demo.results import parquet_rows
from demo.runs import Runs
from demo.scenarios import Queue, Scenario, ScenarioLoop
from demo.seed import Seed, another_address, database_rows, seed, upload
from demo.tables import TABLES
from demo.timeline import chart, clock, moment, moments_rows, sessions
from harness.airflow import Airflow
from harness.calls import call_rows, count_calls
from harness.console import Console, table

if TYPE_CHECKING:
    import argparse

    from demo.checks import Check
    from demo.queue import Standing
    from demo.timeline import Session
    from harness.judge import Event
    from harness.processes import Children

ROOT = Path(__file__).resolve().parent.parent
DAG_IDS = (TABLES[0].dag_id, TABLES[1].dag_id)
KILLED = "killed_daily"
# In dags/ this example shares the address of the daily DAGs; here it has its own address and bucket.
LIVY_VARIABLE = "azure_sql_livy"
LIVY_BUCKET = "azure-sql-livy-demo"
# On a busy laptop, Airflow resumes a deferred task well within this time.
_GRACE_REAL_SECONDS = 120
_LONGEST_GRACE = 86_400


class Demo:
    """
    Two DAGs on one address; with ``options.all``, also every other scenario.

    :param options: see :func:`demo.__main__.parse`.
    """

    def __init__(self, *, console: Console, children: Children, options: argparse.Namespace) -> None:
        self.console = console
        self.children = children
        self.time_scale: float = options.time_scale
        self.state: Path = options.state
        self.all: bool = options.all
        self.aws = LocalAws(children, state=self.state / "aws", time_scale=options.time_scale, port=options.aws_port)
        self.airflow = Airflow(
            children,
            home=self.state / "airflow",
            dags=self._dags(),
            extra={
                "AIRFLOW_CONN_AWS_DEFAULT": self.aws.connection,
                "AIRFLOW__EIP__ENVIRONMENT": "demo",
                # The api-server has just started at the first task; on a busy laptop the default of 5 s is too short.
                "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
                "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://{TABLE}?region={REGION}&create=true&grace={self._grace}",
            },
            port=options.airflow_port,
            report_progress=lambda state: console.step(f"waiting for Airflow: {state}"),
        )
        self.seed: Seed
        self.other_address: Seed
        self.zones: zones.Zones
        self.standby_allocation_id: str

    @property
    def _grace(self) -> str:
        """In simulated seconds: AWS's clock runs fast, but Airflow's does not."""
        return f"{min(_GRACE_REAL_SECONDS * self.time_scale, _LONGEST_GRACE):.0f}"

    def _dags(self) -> Path:
        """Copy the example DAGs, and those of the other scenarios, into one folder."""
        folder, examples = self.state / "dags", ROOT / "dags"
        folder.mkdir()
        shutil.copy(examples / "azure_sql_daily.py", folder)
        if self.all:
            for file in (examples / "emr_standby.py", *(ROOT / "demo" / "dags").glob("*.py")):
                shutil.copy(file, folder)
            text = (examples / "emr_livy_batch.py").read_text(encoding="utf-8")
            text = text.replace('"azure_sql"', f'"{LIVY_VARIABLE}"')
            (folder / "emr_livy_batch.py").write_text(text, encoding="utf-8")
        return folder

    def set_up(self) -> None:
        """Start the local EMR and Airflow."""
        self.console.step("starting the local EMR and the Azure SQL stand-in; meanwhile Airflow creates its database")
        migration = self.airflow.begin_migration()
        self.aws.start()
        self.seed = seed(self.aws, jobs=ROOT / "dags" / "jobs")
        self.console.step(
            f"Elastic IP {self.seed.public_ip} ({self.seed.allocation_id}) is registered with the database's firewall; "
            + " and ".join(f"{table.name} has {table.rows:,} rows" for table in TABLES)
        )
        self.airflow.configure({"AIRFLOW_VAR_AZURE_SQL": json.dumps(self.seed.variable)})
        expected = set(DAG_IDS)
        if self.all:
            expected |= {KILLED, nodes.PRIMARY, nodes.GATEWAY, zones.DAG, *standby.DAGS}
            self.airflow.configure(self._set_up_scenarios())
        self.airflow.finish_migration(migration)
        self.airflow.preload()
        self.console.step("starting Airflow: api-server, scheduler, dag-processor and triggerer")
        self.airflow.start_processes()
        self.airflow.wait_for_dags(expected)
        self.console.step(f"Airflow runs at {self.airflow.url}, and has parsed the DAGs")

    def _set_up_scenarios(self) -> dict[str, str]:
        """Create what the other scenarios need, and return their Variables and connections."""
        ec2 = self.aws.client("ec2")
        self.other_address, of_zones, of_standby, of_livy = (
            another_address(self.aws, self.seed, number=number) for number in (2, 3, 4, 5)
        )
        self.zones = zones.Zones.of_default_vpc(ec2)
        self.standby_allocation_id = of_standby.allocation_id
        balancer, subnet_ids = standby.prepare(self.aws)
        upload(self.aws.client("s3"), ROOT / "dags" / "jobs", bucket=LIVY_BUCKET)
        variables = {
            "PRIVATE_NETWORK": {**nodes.private_network(ec2), "allocation_id": self.other_address.allocation_id},
            "ZONES": {
                "allocation_id": of_zones.allocation_id,
                "subnet_id": self.zones.empty[1],
                "other_subnet_id": self.zones.other[1],
            },
            "EMR_STANDBY": {
                **{name: self.seed.variable[name] for name in ("bucket", "job_flow_role", "service_role")},
                "allocation_id": of_standby.allocation_id,
                "subnet_ids": subnet_ids,
                "target_groups": list(balancer.groups.values()),
                "primary_security_group": balancer.security_group,
            },
            LIVY_VARIABLE.upper(): {**of_livy.variable, "bucket": LIVY_BUCKET},
        }
        return {
            "AIRFLOW_CONN_LIVY_STANDBY": json.dumps({"conn_type": "livy", "host": balancer.host, "port": 8998}),
            "AIRFLOW_CONN_LIVY_DEFAULT": json.dumps({"conn_type": "livy"}),
            **{f"AIRFLOW_VAR_{name}": json.dumps(variable) for name, variable in variables.items()},
        }

    def run(self) -> list[Check]:
        """Run the DAGs, print what happened, and return the checks."""
        runs = Runs(console=self.console, airflow=self.airflow, aws=self.aws)
        queue = Queue(
            console=self.console,
            airflow=self.airflow,
            aws=self.aws,
            runs=runs,
            dag_ids=DAG_IDS,
            killed=KILLED if self.all else None,
            allocation_id=self.seed.allocation_id,
        )
        scenarios: list[Scenario] = [queue]
        many_nodes = pair = None
        if self.all:

            def may_begin() -> bool:
                return queue.has_met  # until the task has been killed, nothing else may run

            allocation_id = self.other_address.allocation_id
            many_nodes = nodes.ManyNodes(aws=self.aws, runs=runs, allocation_id=allocation_id, may_begin=may_begin)
            moved = zones.MovedJob(aws=self.aws, runs=runs, zones=self.zones, after=DAG_IDS)
            pair = standby.Standby(aws=self.aws, runs=runs, may_begin=may_begin, may_read=many_nodes.is_at_last_step)
            scenarios += [many_nodes, moved, pair]
        loop = ScenarioLoop(console=self.console, children=self.children, airflow=self.airflow, aws=self.aws, runs=runs)
        loop.run(scenarios)
        events = self.aws.events()
        # The lease periods of the address for which the DAGs queue.
        queued = [session for session in sessions(events) if session.owner in {*DAG_IDS, KILLED}]
        self.console.step("all runs have ended")
        self._print_timeline(events, queued, runs)
        results = self._checks(events, queued, loop, queue, runs)
        if many_nodes is not None and pair is not None:
            results += self._many_nodes(events, many_nodes, runs) + self._moved(events, runs)
            results += self._failed_over(events, pair, runs)
        most = max((sample.step_processes for sample in loop.samples), default=0)
        return [*results, self._nothing_left(most)]

    def _print_timeline(self, events: list[Event], found: list[Session], runs: Runs) -> None:
        wanted = {dag_id: since for dag_id, since in runs.wanted_since.items() if dag_id in {*DAG_IDS, KILLED}}
        start = min(wanted.values())
        self.console.heading(f"Timeline (minutes of simulated time, {self.time_scale:g} times as fast)")
        self.console.lines(*chart(found, start=start, waiting_since=wanted))
        with (self.state / "details.txt").open("w", encoding="utf-8") as file:
            details = Console(file)
            details.heading("Moments")
            details.lines(*table(moments_rows(found, start=start), header=("", *(each.owner for each in found))))
            details.heading("The queue, from every write of the lock's record")
            states = self._standings(events)
            details.lines(*table(rows(states, start=start, clock=clock), header=("", "lease", "queue")))
            details.heading("AWS calls of the two daily DAGs, by caller")
            counts = count_calls(events, dag_ids=DAG_IDS)
            details.lines(*table(call_rows(counts), header=("", *counts), right=frozenset(range(1, len(counts) + 1))))

    def _standings(self, events: list[Event]) -> list[Standing]:
        return standings(events, at=lambda event: moment(event).time, allocation_id=self.seed.allocation_id)

    def _checks(
        self, events: list[Event], everyone: list[Session], loop: ScenarioLoop, queue: Queue, runs: Runs
    ) -> list[Check]:
        killed = KILLED if self.all else None
        samples, without_address = loop.samples, queue.without_address
        states = self._standings(events)
        found = [session for session in everyone if session.owner in DAG_IDS]
        run_states = {dag_id: state for dag_id, state in runs.states.items() if dag_id in {*DAG_IDS, KILLED}}
        of_address = [
            event for event in events if event["kind"] != "address" or event["allocation_id"] == self.seed.allocation_id
        ]
        return [
            checks.runs_succeeded(run_states, tries=runs.tries(*run_states), killed=killed),
            *([checks.killed_was_adopted(everyone, killed=killed)] if killed else []),
            *(self._rows_equal(each.dag_id, each.name) for each in TABLES),
            checks.read_from_the_address(events, found=found, public_ip=self.seed.public_ip),
            checks.refused_without_address(
                events,
                job_flow_id=without_address.job_flow_id,
                step_state=without_address.step_state,
                log=without_address.log,
            ),
            checks.sessions_do_not_overlap(of_address, found=everyone),
            checks.second_waited(samples, found=found, waiting_dag=found[-1].owner if found else ""),
            checks.first_come_first_served(states, found=everyone),
            checks.nobody_pays_for_waiting(everyone),
            checks.three_writes_a_session(states, retries=1 if killed else 0),
            checks.lease_is_free(states),
            checks.bound_before_ready(found),
            checks.never_steals(events, periods_seen=len(everyone)),
            *(checks.create_takes_no_worker(samples, session=session, task_id="azure.create") for session in found),
            checks.waits_take_no_worker(samples),
            checks.calls_bounded(count_calls(events, dag_ids=DAG_IDS), waited_seconds=checks.deferred_seconds(samples)),
        ]

    def _rows_equal(self, dag_id: str, table_name: str, **location: str) -> Check:
        """
        Compare the rows that a DAG's job wrote with the database's.

        :param location: see :func:`demo.results.parquet_rows`.
        """
        (source,) = (each for each in TABLES if each.name == table_name)
        written = parquet_rows(self.aws, source, folder=self.state / "results", **location)
        return checks.rows_equal(dag_id, expected=database_rows(self.aws, source), found=written)

    def _many_nodes(self, events: list[Event], scenario: nodes.ManyNodes, runs: Runs) -> list[Check]:
        """Print the database's view of the clusters of three nodes, and return their checks."""
        self.console.heading("The same step on three nodes: the address on the primary node, and on a NAT gateway")
        self.console.lines(
            f"{nodes.PRIMARY} has on_multi_node='allow': its executors have other addresses, so it fails.",
            f"{nodes.GATEWAY} puts the address on a NAT gateway, which all its nodes use.",
            f"The database's firewall admits their address, {self.other_address.public_ip}, and saw:",
        )
        clusters = {dag_id: nodes.cluster_of(events, dag_id) for dag_id in (nodes.PRIMARY, nodes.GATEWAY)}
        header = ("", "from", "answer", "nodes", "connections")
        self.console.lines(*table(nodes.rows(events, clusters), header=header, right=frozenset({3, 4})))
        public_ip = self.other_address.public_ip
        primary, gateway = (
            {"job_flow_id": cluster, "state": runs.states.get(dag_id, ""), "public_ip": public_ip}
            for dag_id, cluster in clusters.items()
        )
        return [
            node_checks.executors_refused(events, **primary),
            node_checks.every_node_admitted(events, **gateway),
            self._rows_equal(nodes.GATEWAY, nodes.TABLE, prefix=nodes.GATEWAY),
            node_checks.as_before(scenario.before, scenario.after, events=events, clusters=clusters),
        ]

    def _moved(self, events: list[Event], runs: Runs) -> list[Check]:
        """Print how the job moved to another zone, and return its checks."""
        found = zones.tried(events, self.zones)
        self.console.heading(f"A zone without capacity: {zones.DAG}, with its fallback in another zone")
        self.console.lines(
            f"{self.zones.empty[0]} has no {zones.INSTANCE_TYPE} left. The cluster there ends, and the same try of the "
            f"task launches one in {self.zones.other[0]}.",
            *zones.lanes(found, wanted_since=runs.wanted_since[zones.DAG]),
        )
        state, tries = runs.states.get(zones.DAG, ""), runs.tries(zones.DAG)[zones.DAG]
        return [
            zone_checks.moved_to_the_other_zone(found, zones=self.zones, state=state, tries=tries),
            zone_checks.same_lease(found),
            zone_checks.one_cluster_at_a_time(events, found),
        ]

    def _failed_over(self, events: list[Event], scenario: standby.Standby, runs: Runs) -> list[Check]:
        """Print how the service moved to the standby, and return its checks."""
        self.console.heading("A long-running pair: the primary node is lost while a batch runs on it")
        self.console.lines(
            f"{standby.WATCH} watches the cluster that has the address, with one deferred task. When its primary is",
            "lost, the address and the load balancer's targets move to the standby, and the lost cluster is ended.",
        )
        batches = {dag_id: runs.states.get(dag_id, "") for dag_id in (standby.LOST, standby.AFTER)}
        return [
            standby_checks.service_moved(
                events,
                lost_at=scenario.lost_at,
                allocation_id=self.standby_allocation_id,
                state=runs.states.get(standby.WATCH, ""),
            ),
            standby_checks.one_live_primary(events, standby_state=scenario.standby_state),
            standby_checks.batches_succeed(events, states=batches, tries=runs.tries(*filter(batches.get, batches))),
            self._rows_equal(standby.LIVY, TABLES[0].name, bucket=LIVY_BUCKET),
        ]

    def _nothing_left(self, seen: int) -> Check:
        pages = self.aws.client("emr").get_paginator("list_clusters").paginate(ClusterStates=ACTIVE_STATES)
        addresses = self.aws.client("ec2").describe_addresses()["Addresses"]
        return checks.nothing_left(
            active_clusters=[cluster["Id"] for page in pages for cluster in page["Clusters"]],
            association_id=next((each["AssociationId"] for each in addresses if "AssociationId" in each), None),
            step_processes=count_descendants(self.aws.pid),
            seen=seen,
        )

    def print_locations(self, *, kept: bool) -> None:
        """
        Print the locations of details, logs and servers.

        :param kept: whether the servers keep running.
        """
        self.console.heading("Details and logs")
        self.console.lines(
            f"Every moment, the queue, all AWS calls   {self.state / 'details.txt'}",
            f"Logs   {self.state / 'logs'}; of tasks: {self.state / 'airflow' / 'logs'}; of AWS: {self.state / 'aws'}",
            *(
                (
                    f"Airflow UI   {self.airflow.url}",
                    f"Local EMR    {self.aws.url} (AWS_ENDPOINT_URL; what happened: {self.aws.url}/_local/events)",
                    "Everything keeps running; Ctrl-C stops it.",
                )
                if kept
                else (
                    "`make demo KEEP=1` leaves Airflow's UI and the local EMR running; `ALL=1` is for every scenario.",
                )
            ),
        )

    def wait_for_interrupt(self) -> None:
        """Keep everything running until Ctrl-C."""
        while True:
            self.children.check()
            time.sleep(1)


def report(console: Console, results: list[Check]) -> bool:
    """Print the table of checks and return whether all passed."""
    console.heading("Checks")
    console.lines(
        *table([(check.name, check.verdict, check.detail) for check in results], header=("check", "", "seen"))
    )
    failed = [check for check in results if not check.passed]
    summary = f"{len(failed)} of {len(results)} checks FAILED" if failed else f"all {len(results)} checks PASS"
    console.lines("", f"{summary}, after {console.elapsed_seconds:.0f} s")
    # Repeated at the end, where a long output is read first.
    console.lines(*(f"FAILED: {check.name}: {check.detail}" for check in failed))
    return not failed
