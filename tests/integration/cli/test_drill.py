"""``airflow-eip drill --execute``: the primary is stopped, something else fails over, and the drill measures."""

from __future__ import annotations

import io
import json
import os
import signal
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.aws.tags import SUCCESSOR_TAG
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.drill import work
from airflow_eip_provider.exceptions import LeaseLostError
from airflow_eip_provider.health import http
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from harness.life import clock_of
from tests.integration.cli.drills import ZONES, Pair, pair
from tests.integration.iam.stage import DYNAMODB, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.cli.conftest import Said

__all__ = ["pair"]


class Failover:
    """What a DAG does when the primary has failed, at times that a test sets."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._stage = pair.stage
        self._due: list[tuple[float, Callable[[], None]]] = []
        self.cluster: str | None = None

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Call a function some seconds after the primary was stopped."""
        self._due.append((seconds, act))

    def sleep(self, seconds: float) -> None:
        """Advance the clock for the drill, and call what is due."""
        clock = self._stage.aws.clock
        clock.advance(seconds)
        if not (stopped := self._pair.stops()):
            return
        passed = (clock.now() - datetime.fromisoformat(stopped[-1]["time"])).total_seconds()
        for due in [entry for entry in self._due if entry[0] <= passed]:
            self._due.remove(due)
            due[1]()

    def launch(self) -> None:
        """Launch a cold standby, with the tag of the address."""
        self.cluster = self._pair.launch_standby(wait_seconds=0)

    def bind(self) -> None:
        """Associate the address with the standby."""
        self._pair.move_address(str(self.cluster))

    def register(self) -> None:
        """Register the standby with every target group."""
        for name in ("Yarn", "Hdfs", "Livy"):
            arn = self._pair.load_balancer[f"{name}TargetGroupArn"]
            targets = [{"Id": self._stage.aws.cluster(str(self.cluster)).primary.private_ip_address}]
            self._stage.client("elbv2").register_targets(TargetGroupArn=arn, Targets=targets)


@pytest.fixture
def failover(pair: Pair) -> Iterator[Failover]:
    made = Failover(pair)
    with clock.used(clock_of(pair.stage.aws, made.sleep)):
        yield made


@pytest.fixture
def execute(pair: Pair, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*arguments: str, as_json: bool = True) -> Said:
        return pair.drill(capsys, "--execute", "--yes", pair.primary, *arguments, as_json=as_json)

    return run


@pytest.fixture
def warm(pair: Pair, failover: Failover) -> list[str]:
    """A standby to which a failover goes 40 seconds after the stop."""
    return fail_over_to_standby(pair, failover)


def fail_over_to_standby(pair: Pair, failover: Failover) -> list[str]:
    failover.cluster = pair.launch_standby()
    failover.at(40, failover.bind)
    failover.at(50, failover.register)
    return ["--standby-job-flow-id", failover.cluster]


def test_a_warm_failover_is_measured_and_running_clusters_are_listed(execute, pair, failover, warm, tmp_path):
    said = execute(*warm, "--rto", "5m", "--report", str(tmp_path / "drill"))
    assert said.status == 0, said.out + said.err
    assert [e["operation"] for e in pair.stops()] == ["TerminateInstances"]
    seconds = said.result["seconds"]
    assert seconds["bound"] == pytest.approx(40, abs=15)
    assert seconds["detected"] <= seconds["bound"] <= seconds["targets"] <= seconds["services"]
    assert said.result["recovery_seconds"] == max(seconds.values())
    assert (said.result["met"], said.result["successor"]) == (True, failover.cluster)
    assert f"cluster {failover.cluster} is WAITING: the primary now" in said.err
    assert f"there is no standby for {failover.cluster} now" in said.err
    account, address = said.result["account"], pair.stage.client("ec2").describe_addresses()["Addresses"][0]["PublicIp"]
    for ending in ("json", "html"):
        text = (tmp_path / f"drill.{ending}").read_text()
        assert account not in text
        assert address not in text
        assert str(failover.cluster) in text
    page = (tmp_path / "drill.html").read_text()
    assert f"RTO {5 * 60} s" in page
    assert not any(word in page for word in ("<script", "http://", "https://", "<link"))
    assert pair.stage.refusals() == []


def test_the_cleared_tag_of_an_undone_failover_is_no_detection(execute, pair, failover, warm):
    pair.stage.client("emr").add_tags(ResourceId=failover.cluster, Tags=[{"Key": SUCCESSOR_TAG, "Value": ""}])
    said = execute(*warm, "--rto", "5m")
    assert said.status == 0, said.out + said.err
    assert said.result["seconds"]["detected"] >= 40


def test_a_cold_failover_shows_the_start_and_misses_the_rto(execute, pair, failover, tmp_path):
    failover.at(60, failover.launch)
    failover.at(300, failover.bind)
    failover.at(310, failover.register)
    said = execute(
        "--job-flow-overrides", pair.file(tmp_path, pair.overrides(ZONES[1])), "--rto", "2m", "--limit", "20m"
    )
    assert said.status == 3, said.out + said.err
    seconds, durations = said.result["seconds"], pair.stage.aws.durations
    assert seconds["launched"] == seconds["detected"] == pytest.approx(60, abs=11)
    assert seconds["started"] - seconds["launched"] == durations.starting + durations.bootstrapping
    assert seconds["bound"] == pytest.approx(300, abs=15)
    assert (said.result["met"], said.result["error"]) == (False, None)
    assert said.result["recovery_seconds"] > 300


def test_without_a_recovery_the_drill_gives_up_and_the_rto_is_missed(execute, pair, failover, tmp_path):
    standby = pair.launch_standby()
    said = execute("--standby-job-flow-id", standby, "--rto", "2m", "--limit", "3m")
    assert said.status == 3
    assert said.result["recovery_seconds"] is None
    assert "given up: not seen that the failover began" in said.result["timeline"][-1]["what"]
    assert f"cluster {standby} is WAITING: a standby, which has not taken over" in said.err


class Terminal(io.StringIO):
    """A terminal at which one line is typed."""

    def isatty(self) -> bool:
        return True


def test_people_type_the_primary_s_id_and_get_a_table(pair, warm, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal(f"{pair.primary}\n"))
    said = pair.drill(capsys, "--execute", *warm, as_json=False)
    assert said.status == 0, said.err
    assert f"--execute stops cluster {pair.primary}. Type its id to continue:" in said.err
    lines = said.out.splitlines()
    assert lines[0].split() == ["SINCE", "THE", "PRIMARY", "WAS", "STOPPED", "AFTER"]
    assert lines[-1].startswith("whole recovery")
    assert lines[-1].endswith("(RTO 900 s: met)")


def test_another_answer_stops_nothing(pair, warm, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    said = pair.drill(capsys, "--execute", *warm)
    assert said.status == 2
    assert "'yes' is not the primary; nothing was changed" in said.err
    assert pair.stops() == []


def test_another_way_to_stop_the_primary(execute, pair, failover, warm):
    said = execute(*warm, "--stop", "cluster", "--limit", "15m")
    assert [e["operation"] for e in pair.stops()] == ["TerminateJobFlows"]
    assert f"stopped: cluster {pair.primary} was told to terminate" in said.err


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_watch_and_running_clusters_are_listed(execute, pair, failover, warm, number):
    failover.at(20, lambda: signal.raise_signal(number))
    said = execute(*warm)
    assert said.status == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert json.loads(said.out)["met"] is False
    assert "stopping: no longer watching" in said.err
    assert f"cluster {failover.cluster} is WAITING: a standby, which has not taken over" in said.err


# It does the failover itself


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_it_fails_over_itself_when_no_dag_watches(execute, pair, tmp_path, kind):
    standby = pair.launch_standby() if kind == "warm" else None
    cold = ["--job-flow-overrides", pair.file(tmp_path, pair.overrides(ZONES[1]))]
    given = ["--standby-job-flow-id", standby] if standby else cold
    said = execute("--fail-over", *given, "--rto", "20m")
    assert said.status == 0, said.out + said.err
    seconds = said.result["seconds"]
    assert 0 < seconds["detected"] < seconds["bound"] <= seconds["targets"]
    successor = str(said.result["successor"])
    assert successor == (standby or successor)
    assert pair.stage.aws.cluster(successor).state == "WAITING"
    assert pair.stage.record(DYNAMODB).lease.resource_id == successor
    assert pair.stage.refusals() == []


def test_a_failed_failover_lists_what_it_left(execute, pair, tmp_path):
    pair.stage.taken_away = ("ChangeTargets", "elasticloadbalancing:RegisterTargets")
    pair.enforce()
    said = execute("--fail-over", "--job-flow-overrides", pair.file(tmp_path, pair.overrides(ZONES[1])))
    assert said.status == 1
    assert "RegisterTargets" in said.err
    alive = [c.id for c in pair.stage.aws.emr.life.clusters if c.state == "WAITING"]
    assert alive != []
    for job_flow_id in alive:
        role = "a standby, which has not taken over"
        assert f"cluster {job_flow_id} is WAITING: {role}; to terminate it: aws emr" in said.err


@pytest.mark.usefixtures("default_signals")
def test_ctrl_c_does_not_interrupt_the_undo_of_a_failed_failover(execute, pair, tmp_path, monkeypatch):
    """Nor does it hide why the failover failed."""
    undo = EmrFailoverOperator.undo

    def move(*_: Any) -> None:
        raise LeaseLostError(pair.stage.allocation_id, problem="another task has it")

    def undo_with_ctrl_c(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        undo(*arguments)

    monkeypatch.setattr(EmrFailoverOperator, "_move_address", move)
    monkeypatch.setattr(EmrFailoverOperator, "undo", undo_with_ctrl_c)
    said = execute("--fail-over", "--job-flow-overrides", pair.file(tmp_path, pair.overrides(ZONES[1])))
    assert "another task has it" in said.err
    assert "WAITING" not in {cluster.state for cluster in pair.stage.aws.emr.life.clusters}
    assert pair.stage.record(DYNAMODB).lease is None


# It refuses


@pytest.mark.parametrize(
    ("confirmation", "text"),
    [
        ([], "needs a confirmation"),
        (["--yes", "j-OTHER"], "'j-OTHER' is not the primary"),
        (["--yes", "j-1", "--report", "nowhere/drill"], "its folder does not exist"),
    ],
    ids=["none", "another", "report"],
)
def test_without_a_confirmation_aws_is_not_called(monkeypatch, capsys, confirmation, text):
    monkeypatch.setattr("airflow_eip_provider.cli.session.open_session", None)
    given = ["--job-flow-id", "j-1", "--standby-job-flow-id", "j-2", "--lock-store", "none", "--execute"]
    assert main(["drill", *given, *confirmation]) == 2
    assert text in capsys.readouterr().err


def test_an_address_that_moved_just_before_the_stop_prevents_it(execute, pair, failover, warm, monkeypatch):
    """The checks passed; then the address moved."""
    monkeypatch.setattr(work.Drill, "__init__", _with_a_move_before(work.Drill.__init__, failover))
    said = execute(*warm)
    assert said.status == 1
    assert "nothing was changed" in said.err
    assert pair.stops() == []


def _with_a_move_before(init: Any, failover: Failover) -> Any:
    def moved(self: Any, *args: Any) -> None:
        failover.bind()
        init(self, *args)

    return moved


def test_a_foreign_lease_is_found_before_anything_is_stopped(execute, pair, warm):
    pair.disassociate()
    pair.stage.aws.ec2(pair.stage.aws.region).steal(pair.stage.allocation_id)
    said = execute(*warm)
    assert said.status == 3
    assert said.result["ready"] is False
    assert pair.stops() == []


def test_without_a_lock_store_the_rest_is_measured(served_aws, capsys):
    with staged(served_aws) as stage:
        stage.patch.setattr(http, "PAUSE_SECONDS", 0.0)
        pair = Pair(stage, lock_store=None)
        failover = Failover(pair)
        standby = fail_over_to_standby(pair, failover)
        with clock.used(clock_of(stage.aws, failover.sleep)):
            said = pair.drill(capsys, "--execute", "--yes", pair.primary, *standby)
        assert said.status == 0, said.err
        assert said.result["seconds"]["detected"] == said.result["seconds"]["bound"]
        assert stage.refusals() == []
