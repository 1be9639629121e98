"""What is known of an owner, and what becomes of its cluster: in doubt it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.owner import Owner
from airflow_eip_provider.reaper.owners import Judgement, Owners, OwnerState
from airflow_eip_provider.reaper.survey import Decision, Evidence, decide

OURS = Owner("production", "daily", "run-1", "create", -1)
HOUR = timedelta(hours=1)
AT_WORK, OVER, UNKNOWN = (Judgement(state, state.value) for state in OwnerState)


def owners(state: Any = None, *, environment: str | None = "production", gone: tuple[str, ...] = ()) -> Owners:
    def run_state(dag_id: str, run_id: str) -> Any:
        assert (dag_id, run_id) == ("daily", "run-1")
        if isinstance(state, Exception):
            raise state
        return state

    return Owners(environment=environment, gone=gone, run_state=run_state)


@pytest.mark.parametrize(
    ("run_state", "state"),
    [
        ("queued", OwnerState.RUNNING),
        ("running", OwnerState.RUNNING),
        ("a state of a later Airflow", OwnerState.RUNNING),
        ("success", OwnerState.FINISHED),
        ("failed", OwnerState.FINISHED),
        (None, OwnerState.UNKNOWN),
        (RuntimeError("no such table: dag_run\n(and more)"), OwnerState.UNKNOWN),
    ],
)
def test_an_owner_of_this_environment_is_judged_by_its_dag_run(run_state, state):
    assert owners(run_state).new_judge()(OURS).state is state


def test_why_nothing_is_known_is_one_line():
    why = owners(RuntimeError("no such table: dag_run\n(and more)")).new_judge()(OURS).why
    assert why == "the state of its DAG run 'daily/run-1' cannot be read: no such table: dag_run"


@pytest.mark.parametrize("environment", [None, "default"])
def test_environments_without_a_name_cannot_be_distinguished(environment):
    owner = Owner("default", "daily", "run-1", "create", -1)
    assert owners("success", environment=environment).new_judge()(owner).state is OwnerState.UNKNOWN


def test_an_owner_elsewhere_is_unknown_unless_its_environment_is_gone():
    owner = Owner("elsewhere", "daily", "run-1", "create", -1)
    assert owners("success").new_judge()(owner).state is OwnerState.UNKNOWN
    assert owners("running", gone=("elsewhere",)).new_judge()(owner).state is OwnerState.FINISHED
    assert owners(gone=("elsewhere",)).new_judge()(None).state is OwnerState.UNKNOWN


@pytest.mark.parametrize(("environment", "gone"), [("production", "production"), (None, "default")])
def test_the_environment_that_asks_is_not_gone(environment, gone):
    with pytest.raises(InvalidInputError, match="this is the environment of this command"):
        owners(environment=environment, gone=(gone,))


def test_each_look_asks_for_a_dag_run_once():
    asked = []
    looks = Owners(environment="production", run_state=lambda *run: asked.append(run) or "running")
    for _ in range(2):
        judge = looks.new_judge()
        judge(OURS)
        judge(Owner("production", "daily", "run-1", "other", 3))
    assert asked == [("daily", "run-1")] * 2


@pytest.mark.parametrize(
    ("name", "digest_of"),
    [
        (str(OURS), OURS),
        ("gone/daily/scheduled__2026-01-02T00:00:00+00:00/group.create/12", None),
    ],
)
def test_an_owner_is_read_back_from_its_name(name, digest_of):
    environment, dag_id, run_id, task_id, map_index = name.split("/")
    owner = digest_of or Owner(environment, dag_id, run_id, task_id, int(map_index))
    assert Owner.of_name(name, digest=owner.digest) == owner


@pytest.mark.parametrize(
    "owner",
    [
        Owner("prod/eu", "daily", "run-1", "create", -1),
        Owner("prod", "daily", "run/1", "create", -1),
    ],
)
def test_an_owner_that_slashes_make_ambiguous_is_none(owner):
    assert Owner.of_name(str(owner), digest=owner.digest) is None


@pytest.mark.parametrize("name", ["", "a/b/c", "a/b/c/d/e", "a/b/c/d/--1", str(OURS)[:-1], str(OURS) + "0"])
def test_a_name_that_does_not_fit_its_digest_is_no_owner(name):
    assert Owner.of_name(name, digest=OURS.digest) is None


@pytest.mark.parametrize(
    ("evidence", "decision"),
    [
        ({"owners": [OVER]}, Decision.REAP),
        ({"owners": [OVER], "lease": "leased", "busy": ["step s-1"]}, Decision.REAP),
        ({"owners": [OVER], "age": HOUR - timedelta(seconds=1)}, Decision.KEEP),
        ({"owners": [OVER], "age": None}, Decision.KEEP),
        ({"owners": [OVER], "age": timedelta(0), "named": True}, Decision.KEEP),
        ({"owners": [AT_WORK]}, Decision.KEEP),
        ({"owners": [AT_WORK], "named": True}, Decision.KEEP),
        ({"owners": [OVER, AT_WORK]}, Decision.KEEP),
        ({"owners": [UNKNOWN]}, Decision.UNKNOWN),
        ({"owners": [OVER, UNKNOWN]}, Decision.UNKNOWN),
        ({"owners": [UNKNOWN], "lease": "leased"}, Decision.KEEP),
        ({"owners": [UNKNOWN], "named": True}, Decision.REAP),
        ({"owners": [UNKNOWN], "named": True, "lease": "leased"}, Decision.REAP),
        ({"owners": [UNKNOWN], "named": True, "busy": ["step s-1"]}, Decision.KEEP),
        ({"owners": [AT_WORK, UNKNOWN], "named": True}, Decision.KEEP),
    ],
)
def test_a_cluster_is_reaped_only_when_nothing_speaks_for_it(evidence, decision):
    decided, reason = decide(Evidence(**{"age": HOUR, **evidence}), min_age=HOUR)
    assert decided is decision
    assert reason
