"""What the test does with the stack, and what it sees: each check is one row of the report."""

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
REAPER = "eip_reaper"
_SECRETS = "/run/airflow-secrets"
_RUNS_SECONDS = 2400.0
_PARSED_SECONDS = 300.0
_LOOK_SECONDS = 3.0
_NEW_DAG = """
from airflow.sdk import DAG

with DAG("dropped_in", schedule=None):
    pass
"""


class Story:
    """The life of one stack: started, used, taken down and started again on the same data, and removed."""

    def __init__(self, stack: Stack, *, results: Path, console: Console) -> None:
        self._stack = stack
        self._results = results
        self._console = console
        self.verdicts: list[Check] = []

    def play(self) -> None:
        """
        Live it.

        :raises StackError: when it cannot go on.
        """
        stack = self._stack
        self._console.step("building the images")
        stack.build()
        self._console.step("starting the stack")
        stack.up()
        self._console.step("every service is healthy")
        self._dags_are_read({*DAG_IDS})
        self._see(self._ports_are_this_machines(), self._keeps_its_secrets())
        runs = self._run(DAG_IDS)
        self._see(*self._judge(runs))
        self._see(self._command_line(), self._dropped_in())

        before = self._look(runs)
        self._console.step("taking the stack down and starting it again on the same data")
        stack.down()
        stack.up()
        self._see(_equal("what was there before the restart is there after it", before, self._look(runs)))
        after = self._run(DAG_IDS[:1])
        expected = list(range(1, len(runs) + len(after) + 1))
        self._see(self._ended_well(after), _equal("the lock's tokens go on", expected, self._tokens()))

        self._console.step("removing everything")
        stack.down("--volumes")
        self._see(_equal("no container or volume is left", ([], []), (list(stack.containers()), stack.volumes())))

    def _see(self, *found: Check) -> None:
        for check in found:
            self._console.step(f"{check.verdict}: {check.name}: {check.detail}")
        self.verdicts.extend(found)

    def _dags_are_read(self, wanted: set[str]) -> None:
        def problem() -> str:
            absent = wanted - self._stack.airflow.dag_ids()
            return f"DAGs not read: {sorted(absent)}; {self._stack.airflow.import_errors()}" if absent else ""

        self._stack.wait(problem, seconds=_PARSED_SECONDS)

    def _run(self, dag_ids: Sequence[str]) -> dict[str, str]:
        """Start a run of each DAG over the REST API, see them to their ends, and return their ids."""
        airflow = self._stack.airflow
        runs = {dag_id: airflow.trigger(dag_id) for dag_id in dag_ids}
        self._console.step(f"started {', '.join(runs)}")
        told: dict[str, str | None] = {}
        deadline = time.monotonic() + _RUNS_SECONDS
        while any(airflow.run_state(dag_id, run) not in FINAL_RUN_STATES for dag_id, run in runs.items()):
            if time.monotonic() > deadline:
                raise StackError(f"the runs have not ended after {_RUNS_SECONDS:.0f} s: {told}\n{self._stack.logs()}")
            for task in (task for dag_id, run in runs.items() for task in airflow.tasks(dag_id, run)):
                if task.state not in {told.get(task.id), None, "scheduled", "queued"}:
                    told[task.id] = task.state
                    self._console.step(f"{task.dag_id}.{task.task_id}: {task.state}")
            time.sleep(_LOOK_SECONDS)
        return runs

    def _judge(self, runs: dict[str, str]) -> list[Check]:
        """Prove from the local EMR's event log, and from what is in S3, that the runs did what they should."""
        aws = self._stack.aws
        events = aws.events()
        found = sessions(events)
        states = standings(events, at=lambda event: moment(event).time)
        return [
            self._ended_well(runs),
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

    def _ended_well(self, runs: dict[str, str]) -> Check:
        airflow = self._stack.airflow
        states = {dag_id: airflow.run_state(dag_id, run_id) for dag_id, run_id in runs.items()}
        tries = {task.id: task.try_number for dag_id, run in runs.items() for task in airflow.tasks(dag_id, run)}
        passed = set(states.values()) == {"success"} and set(tries.values()) == {1}
        detail = f"{', '.join(f'{dag_id} {state}' for dag_id, state in states.items())}; {len(tries)} tasks"
        return Check(name=f"{' and '.join(runs)} succeeded, each task at its first try", passed=passed, detail=detail)

    def _address(self) -> dict[str, Any]:
        ec2 = self._stack.aws.client("ec2")
        found: list[dict[str, Any]] = ec2.describe_addresses(Filters=[{"Name": "tag:Name", "Values": [NAME]}])[
            "Addresses"
        ]
        return found[0]

    def _tokens(self) -> list[int]:
        """Return the tokens of the lease periods that have ended, from the lock's record itself."""
        aws = self._stack.aws
        items = aws.client("dynamodb").scan(TableName=TABLE)["Items"]
        records = [read(json.loads(item["record"]["S"]), time=aws.time()) for item in items]
        return [token for record in records for token in record.ended]

    def _look(self, runs: dict[str, str]) -> dict[str, Any]:
        """Return what a restart must not change: in Airflow, in the local EMR and in the database."""
        stack = self._stack
        address = self._address()
        said = stack.compose("exec", "-T", "airflow-scheduler", "airflow", "variables", "get", "azure_sql")
        folder = self._results / f"look-{len(list(self._results.glob('look-*')))}"
        return {
            "runs": {dag_id: stack.airflow.run_state(dag_id, run_id) for dag_id, run_id in runs.items()},
            "address": (address["AllocationId"], address["PublicIp"]),
            "Variable": json.loads(said[said.index("{") :]),
            "results": {table.name: sorted(parquet_rows(stack.aws, table, folder=folder)) for table in TABLES},
            "database": {table.name: sorted(database_rows(stack.aws, table)) for table in TABLES},
            "tokens": self._tokens(),
        }

    def _ports_are_this_machines(self) -> Check:
        bound = {
            f"{name} {port}": sorted({binding["HostIp"] for binding in bindings or ()})
            for name, container in self._stack.containers().items()
            for port, bindings in container["NetworkSettings"]["Ports"].items()
            if bindings
        }
        passed = bool(bound) and all(hosts == ["127.0.0.1"] for hosts in bound.values())
        return Check(name="ports are bound to 127.0.0.1 alone", passed=passed, detail=", ".join(sorted(bound)))

    def _keeps_its_secrets(self) -> Check:
        """See that no image, environment or command shows a secret of this installation."""
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
        enough = len(values) >= 6  # what docker/make-secrets.sh makes
        name = "no image and no container's settings show a secret"
        detail = f"{len(values)} secrets, {leaked} shown by {len(containers)} containers and {len(images)} images"
        return Check(name=name, passed=enough and not leaked, detail=detail)

    def _command_line(self) -> Check:
        said = self._stack.compose("run", "--rm", "-T", "airflow-cli", "dags", "list", "--output", "json")
        listed = {dag["dag_id"] for dag in json.loads(said[said.index("[{") :])}
        return _equal("'compose run --rm airflow-cli dags list' shows the DAGs", {*DAG_IDS, REAPER}, listed)

    def _dropped_in(self) -> Check:
        """See that an edit in dags/ needs nothing but saving the file."""
        (self._stack.folder / "dags" / "dropped_in.py").write_text(_NEW_DAG, encoding="utf-8")
        started = time.monotonic()
        self._dags_are_read({"dropped_in"})
        return Check(
            name="a file saved in dags/ is there", passed=True, detail=f"after {time.monotonic() - started:.0f} s"
        )


def _equal(name: str, expected: Any, found: Any) -> Check:
    detail = str(found) if expected == found else f"expected {expected}, found {found}"
    return Check(name=name, passed=expected == found, detail=f"{detail:.160}")
