"""The simulation for the measurement of lock clients, and its tables, with a client that needs no download."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import tables
from bench.clients import simulation as simulations
from bench.clients.figures import ClientConfig, Figures, Overlap
from bench.clients.simulation import OwnerFailedError, Simulation

CONFIG = ClientConfig(
    name="sleeper", version="1", script="run_sleeper", service="dynamodb", key=("k",), lease=60, poll=15
)
SLEEPER = """
import sys
sys.path.insert(0, {inside!r})
from contextlib import contextmanager
from owner import run_owner

@contextmanager
def lease_period(clock, plan):
    assert plan["lease"] == 60, "the lease of the config"
    thread = clock.threading.Thread(name="heartbeat", target=lambda: clock.sleep(1000))
    thread.daemon = True
    thread.start()
    clock.sleep(plan["poll"])
    clock.send(clock=clock.time() - plan["epoch"] - clock.monotonic(), fact="skew")
    yield

run_owner(lease_period)
"""


@pytest.fixture
def simulation(local_aws, tmp_path, monkeypatch):
    (tmp_path / "run_sleeper.py").write_text(SLEEPER.format(inside=str(simulations._SCRIPTS)))
    monkeypatch.setattr(simulations, "_SCRIPTS", tmp_path)
    with Simulation(local_aws, Path(sys.executable), CONFIG, "a-table") as made:
        yield made


def test_time_moves_only_while_all_sleep_and_the_aws_clock_with_it(simulation, local_aws):
    began = local_aws.clock.now()
    first, second = simulation.enter("first", work=100), simulation.enter("second", work=40)
    assert simulation.run(500, until=lambda: first.gone and second.gone)
    assert first.lease_period == (15, 115)
    assert second.lease_period == (15, 55)
    assert (local_aws.clock.now() - began).total_seconds() == simulation.now == 115


def test_a_paused_owner_loses_the_time_and_continues(simulation):
    owner = simulation.enter("owner", work=100)
    simulation.run(35)
    simulation.pause(owner)
    simulation.run(200)
    assert simulation.now == 235, "time advances without it"
    simulation.resume(owner)
    assert simulation.run(500, until=lambda: owner.gone)
    assert owner.lease_period == (15, 305), "two of ten pieces were done, the third was overdue"


def test_a_killed_owner_sends_nothing_more(simulation):
    killed, other = simulation.enter("killed", work=100), simulation.enter("other", work=100)
    simulation.run(20)
    simulation.kill(killed)
    assert simulation.run(500, until=lambda: other.gone)
    assert "released" not in killed.facts


def test_the_error_of_a_client_that_fails_is_reported(local_aws, tmp_path, monkeypatch):
    (tmp_path / "run_sleeper.py").write_text("raise RuntimeError('no such option')")
    monkeypatch.setattr(simulations, "_SCRIPTS", tmp_path)
    with Simulation(local_aws, Path(sys.executable), CONFIG, "a-table") as simulation:
        simulation.enter("owner", work=1)
        with pytest.raises(OwnerFailedError, match="owner: RuntimeError: no such option"):
            simulation.run(1)


def test_tables_fit_and_tell_reads_from_writes():
    ran = Figures(
        config=CONFIG,
        cycle={"GetItem": 1, "PutItem": 2},
        hour={"GetItem": 2885, "UpdateItem": 720, "PutItem": 1},
        holders=5,
        after_crash=34.0,
        beside_cluster=True,
        slow=Overlap(2865.0, noticed=False),
        paused=Overlap(25.0, noticed=True),
    )
    failed = Figures(config=CONFIG, reason="not installed: " + "x" * 200)
    assert tables.row(ran) == (
        "sleeper, 60 s",
        "1 / 2",
        "2885 / 721, 5 hold",
        "34 s",
        "yes",
        "slow 2865 s",
        "25 s, noticed",
    )
    assert len(tables.row(failed)) == len(tables.HEADER)
    lines = [*tables.NOTES, *tables.details([ran, failed])]
    assert max(map(len, lines)) <= 120
    assert lines[-1].startswith("sleeper did not run: not installed")
