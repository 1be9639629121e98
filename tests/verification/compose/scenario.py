"""The scenario on the stack; each check is one row of the report."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from demo import checks
from demo.checks import Check
from demo.queue import TABLE, read, standings
from demo.results import parquet_rows
from demo.seed import NAME, database_rows
from demo.tables import TABLES
from demo.timeline import moment, sessions
from harness.airflow import FINAL_RUN_STATES
from tests.verification.compose.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.console import Console
    from tests.verification.compose.stack import Stack

DAG_IDS = tuple(table.dag_id for table in TABLES)
# DAGs of dags/ that are not run here.
OTHERS = {"eip_reaper", "emr_failover_drill", "emr_livy_batch", "emr_standby", "emr_standby_start"}
_SECRETS = "/run/airflow-secrets"
_RUNS_SECONDS = 2400.0
_PARSED_SECONDS = 300.0
_POLL_SECONDS = 3.0
_NEW_DAG = """
from airflow.sdk import DAG

with DAG("dropped_in", schedule=None):
    pass
"""


class Scenario:
    """Starts a stack, runs the DAGs, takes it down, starts it again on the same data, and removes it."""

    def __init__(self, stack: Stack, *, results: Path, console: Console) -> None:
        self._stack = stack
        self._results = results
        self._console = console
        self.checks: list[Check] = []

    def run(self) -> None:
        """
        Run the scenario.

        :raises StackError: when the stack does not start, or a command fails.
        """
        stack = self._stack
        self._console.step("building the images")
        stack.build()
        self._console.step("starting the stack")
        stack.up()
        self._console.step("every service is healthy")
        self._wait_for_dags({*DAG_IDS})
        self._record(self._ports_are_local(), self._secrets_are_not_shown())
        runs = self._run_dags(DAG_IDS)
        self._record(*self._check_runs(runs))
        self._record(self._command_line(), self._new_dag_file())

        before = self._read_state(runs)
        self._console.step("taking the stack down and starting it again on the same data")
        stack.down()
        stack.up()
        self._record(_equal("a restart changes nothing", before, self._read_state(runs)))
        after = self._run_dags(DAG_IDS[:1])
        expected = list(range(1, len(runs) + len(after) + 1))
        self._record(self._succeeded(after), _equal("the fencing tokens continue", expected, self._tokens()))

        self._console.step("removing everything")
        stack.down("--volumes")
        self._record(_equal("no container or volume is left", ([], []), (list(stack.containers()), stack.volumes())))

    def _record(self, *found: Check) -> None:
        for check in found:
            self._console.step(f"{check.verdict}: {check.name}: {check.detail}")
        self.checks.extend(found)

    def _wait_for_dags(self, wanted: set[str]) -> None:
        def problem() -> str:
            absent = wanted - self._stack.airflow.dag_ids()
            return f"DAGs not parsed: {sorted(absent)}; {self._stack.airflow.import_errors()}" if absent else ""

        self._stack.wait(problem, seconds=_PARSED_SECONDS)

    def _run_dags(self, dag_ids: Sequence[str]) -> dict[str, str]:
        """Start a run of each DAG with the REST API, wait until all have ended, and return their ids."""
        airflow = self._stack.airflow
        runs = {dag_id: airflow.trigger(dag_id) for dag_id in dag_ids}
        self._console.step(f"started {', '.join(runs)}")
        shown: dict[str, str | None] = {}
        deadline = time.monotonic() + _RUNS_SECONDS
        while not FINAL_RUN_STATES.issuperset(self._run_states(runs).values()):
            if time.monotonic() > deadline:
                raise StackError(f"the runs have not ended after {_RUNS_SECONDS:.0f} s: {shown}\n{self._stack.logs()}")
            for task in (task for dag_id, run in runs.items() for task in airflow.tasks(dag_id, run)):
                if task.state not in {shown.get(task.id), None, "scheduled", "queued"}:
                    shown[task.id] = task.state
                    self._console.step(f"{task.dag_id}.{task.task_id}: {task.state}")
            time.sleep(_POLL_SECONDS)
        return runs

    def _check_runs(self, runs: dict[str, str]) -> list[Check]:
        """Check the runs from the local EMR's event log and from their results in S3."""
        aws = self._stack.aws
        events = aws.events()
        found = sessions(events)
        states = standings(events, at=lambda event: moment(event).time)
        return [
            self._succeeded(runs),
            *(
                checks.rows_equal(
                    table.dag_id,
                    expected=database_rows(aws, table),
                    found=parquet_rows(aws, table, folder=self._results / "first"),
                )
                for table in TABLES
            ),
            checks.read_from_the_address(events, found=found, public_ip=self._address()["PublicIp"]),
            checks.sessions_do_not_overlap(events, found=found),
            checks.nobody_pays_for_waiting(found),
            checks.bound_before_ready(found),
            checks.never_steals(events, periods_seen=len(found)),
            checks.lease_is_free(states),
        ]

    def _succeeded(self, runs: dict[str, str]) -> Check:
        airflow = self._stack.airflow
        states = self._run_states(runs)
        tries = {task.id: task.try_number for dag_id, run in runs.items() for task in airflow.tasks(dag_id, run)}
        passed = set(states.values()) == {"success"} and set(tries.values()) == {1}
        detail = f"{', '.join(f'{dag_id} {state}' for dag_id, state in states.items())}; {len(tries)} tasks"
        return Check(name=f"{' and '.join(runs)} succeeded, each task at its first try", passed=passed, detail=detail)

    def _run_states(self, runs: dict[str, str]) -> dict[str, str]:
        return {dag_id: self._stack.airflow.run_state(dag_id, run_id) for dag_id, run_id in runs.items()}

    def _address(self) -> dict[str, Any]:
        by_name = [{"Name": "tag:Name", "Values": [NAME]}]
        address: dict[str, Any] = self._stack.aws.client("ec2").describe_addresses(Filters=by_name)["Addresses"][0]
        return address

    def _tokens(self) -> list[int]:
        """Return the tokens of the ended lease periods, from the lease record."""
        aws = self._stack.aws
        items = aws.client("dynamodb").scan(TableName=TABLE)["Items"]
        records = [read(json.loads(item["record"]["S"]), time=aws.time()) for item in items]
        return [token for record in records for token in record.ended]

    def _read_state(self, runs: dict[str, str]) -> dict[str, Any]:
        """Return the state that a restart must not change, of Airflow, the local EMR and the database."""
        stack = self._stack
        address = self._address()
        output = stack.compose("exec", "-T", "airflow-scheduler", "airflow", "variables", "get", "azure_sql")
        folder = self._results / f"state-{len(list(self._results.glob('state-*')))}"
        return {
            "runs": self._run_states(runs),
            "address": (address["AllocationId"], address["PublicIp"]),
            "Variable": json.loads(output[output.index("{") :]),
            "results": {table.name: sorted(parquet_rows(stack.aws, table, folder=folder)) for table in TABLES},
            "database": {table.name: sorted(database_rows(stack.aws, table)) for table in TABLES},
            "tokens": self._tokens(),
        }

    def _ports_are_local(self) -> Check:
        bound = {
            f"{name} {port}": sorted({binding["HostIp"] for binding in bindings or ()})
            for name, container in self._stack.containers().items()
            for port, bindings in container["NetworkSettings"]["Ports"].items()
            if bindings
        }
        passed = bool(bound) and all(hosts == ["127.0.0.1"] for hosts in bound.values())
        return Check(name="ports are bound to 127.0.0.1 only", passed=passed, detail=", ".join(sorted(bound)))

    def _secrets_are_not_shown(self) -> Check:
        """Check that no image, environment or command contains a secret of this installation."""
        stack = self._stack
        shell = f"cd {_SECRETS} && for name in *; do cat $name; echo; done"
        values = [
            value for value in stack.compose("exec", "-T", "airflow-scheduler", "sh", "-c", shell).split() if value
        ]
        containers = stack.containers()
        images = {container["Image"] for container in containers.values()}
        shown = json.dumps(list(containers.values())) + "".join(
            stack.docker("history", "--no-trunc", image) + stack.docker("inspect", image) for image in images
        )
        leaked = sum(value in shown for value in values)
        enough = len(values) >= 6  # docker/make-secrets.sh creates six
        name = "no image and no container's settings show a secret"
        detail = f"{len(values)} secrets, {leaked} shown by {len(containers)} containers and {len(images)} images"
        return Check(name=name, passed=enough and not leaked, detail=detail)

    def _command_line(self) -> Check:
        output = self._stack.compose("run", "--rm", "-T", "airflow-cli", "dags", "list", "--output", "json")
        listed = {dag["dag_id"] for dag in json.loads(output[output.index("[{") :])}
        return _equal("'compose run --rm airflow-cli dags list' shows the DAGs", {*DAG_IDS, *OTHERS}, listed)

    def _new_dag_file(self) -> Check:
        """Check that a DAG file that is saved in dags/ is found without a restart."""
        (self._stack.folder / "dags" / "dropped_in.py").write_text(_NEW_DAG, encoding="utf-8")
        started = time.monotonic()
        self._wait_for_dags({"dropped_in"})
        return Check(
            name="a file that is saved in dags/ is found",
            passed=True,
            detail=f"after {time.monotonic() - started:.0f} s",
        )


def _equal(name: str, expected: Any, found: Any) -> Check:
    detail = str(found) if expected == found else f"expected {expected}, found {found}"
    return Check(name=name, passed=expected == found, detail=f"{detail:.160}")
