"""The stage on which the clients are measured, and the tables; a client written for the test needs no download."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import tables
from bench.clients import stage as stages
from bench.clients.figures import Figures, HeldTwice, Subject
from bench.clients.stage import SceneError, Stage

SUBJECT = Subject(name="sleeper", version="1", script="run_sleeper", service="dynamodb", key=("k",), lease=60, poll=15)
SLEEPER = """
import sys
sys.path.insert(0, {inside!r})
from contextlib import contextmanager
from life import live

@contextmanager
def lease_period(clock, plan):
    assert plan["lease"] == 60, "a lease of its own"
    thread = clock.threading.Thread(name="heartbeat", target=lambda: clock.sleep(1000))
    thread.daemon = True
    thread.start()
    clock.sleep(plan["poll"])
    clock.tell(clock=clock.time() - plan["epoch"] - clock.monotonic(), fact="skew")
    yield

live(lease_period)
"""


@pytest.fixture
def stage(local_aws, tmp_path, monkeypatch):
    (tmp_path / "run_sleeper.py").write_text(SLEEPER.format(inside=str(stages._INSIDE)))
    monkeypatch.setattr(stages, "_INSIDE", tmp_path)
    with Stage(local_aws, Path(sys.executable), SUBJECT, "a-table") as made:
        yield made


def test_time_moves_only_while_all_sleep_and_the_aws_clock_with_it(stage, local_aws):
    began = local_aws.clock.now()
    first, second = stage.enter("first", work=100), stage.enter("second", work=40)
    assert stage.run(500, until=lambda: first.gone and second.gone)
    assert first.lease_period == (15, 115)
    assert second.lease_period == (15, 55)
    assert (local_aws.clock.now() - began).total_seconds() == stage.now == 115


def test_a_paused_owner_loses_the_time_and_goes_on(stage):
    owner = stage.enter("owner", work=100)
    stage.run(35)
    stage.pause(owner)
    stage.run(200)
    assert stage.now == 235, "time goes on without it"
    stage.resume(owner)
    assert stage.run(500, until=lambda: owner.gone)
    assert owner.lease_period == (15, 305), "two of ten pieces were done, the third was overdue"


def test_a_killed_owner_tells_nothing_more(stage):
    killed, other = stage.enter("killed", work=100), stage.enter("other", work=100)
    stage.run(20)
    stage.kill(killed)
    assert stage.run(500, until=lambda: other.gone)
    assert "released" not in killed.facts


def test_a_client_that_fails_says_why(local_aws, tmp_path, monkeypatch):
    (tmp_path / "run_sleeper.py").write_text("raise RuntimeError('no such option')")
    monkeypatch.setattr(stages, "_INSIDE", tmp_path)
    with Stage(local_aws, Path(sys.executable), SUBJECT, "a-table") as stage:
        stage.enter("owner", work=1)
        with pytest.raises(SceneError, match="owner: RuntimeError: no such option"):
            stage.run(1)


def test_tables_fit_and_tell_reads_from_writes():
    ran = Figures(
        subject=SUBJECT,
        cycle={"GetItem": 1, "PutItem": 2},
        hour={"GetItem": 2885, "UpdateItem": 720, "PutItem": 1},
        holders=5,
        after_crash=34.0,
        beside_cluster=True,
        slow=HeldTwice(2865.0, told=False),
        paused=HeldTwice(25.0, told=True),
    )
    failed = Figures(subject=SUBJECT, reason="not installed: " + "x" * 200)
    assert tables.row(ran) == (
        "sleeper, 60 s",
        "1 / 2",
        "2885 / 721, 5 hold",
        "34 s",
        "yes",
        "slow 2865 s",
        "25 s, told",
    )
    assert len(tables.row(failed)) == len(tables.HEADER)
    lines = [*tables.NOTES, *tables.details([ran, failed])]
    assert max(map(len, lines)) <= 120
    assert lines[-1].startswith("sleeper did not run: not installed")
