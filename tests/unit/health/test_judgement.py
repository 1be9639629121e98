"""The verdict from the results of single checks."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import EC2_STATE, EMR_STATE
from airflow_eip_provider.health.judgement import HealthHistory, Judgement, Result, Threshold

START = 1_800_000_000.0
ROUND_SECONDS = 20.0
HTTP = ("yarn", "hdfs", "livy")


def history(unhealthy_after: str = "3/5", healthy_after: str = "1/1") -> HealthHistory:
    thresholds = (Threshold.parse(text, parameter="x") for text in (unhealthy_after, healthy_after))
    return HealthHistory([EMR_STATE, *HTTP], *thresholds, START)


class Node:
    """A primary node, round after round."""

    def __init__(self, *thresholds: str) -> None:
        self.history = history(*thresholds)
        self.now = START

    def round(self, *failing: str, emr: Result | None = None, kind: Any = "") -> Judgement:
        """Add a round in which these checks fail; by default EMR shows the cluster as WAITING."""
        self.now += ROUND_SECONDS
        results = [emr or Result(EMR_STATE, self.now, ok=True)]
        results += [
            Result(name, self.now, ok=name not in failing, problem="timed out" if name in failing else "", kind=kind)
            for name in HTTP
        ]
        return self.history.add(results)

    def said(self, kind: Any, problem: str = "TERMINATED: USER_REQUEST") -> Result:
        return Result(EMR_STATE, self.now + ROUND_SECONDS, ok=False, problem=problem, kind=kind)


def test_three_failures_in_a_row_are_unhealthy_with_the_check_and_the_time():
    node = Node()
    assert [node.round().status, node.round("livy").status, node.round("livy").status] == [
        "healthy",
        "undecided",
        "undecided",
    ]
    found = node.round("livy")
    assert found.status == "unhealthy"
    (failure,) = found.failures
    assert (failure.check, failure.problem, failure.failures, failure.rounds) == ("livy", "timed out", 3, 4)
    assert (failure.since, failure.at) == (node.now - 2 * ROUND_SECONDS, node.now)


def test_one_failure_is_not_unhealthy():
    node = Node()
    rounds = [node.round(), node.round("livy"), *(node.round() for _ in range(10))]
    assert {judgement.status for judgement in rounds} == {"healthy", "undecided"}


def test_alternating_failures_of_several_checks_are_not_unhealthy():
    node = Node()
    assert "unhealthy" not in {node.round(HTTP[k % 3]).status for k in range(100)}


def test_three_of_five_need_not_be_in_a_row_but_the_last_two_do():
    node = Node()
    assert [node.round(*failing).status for failing in (["livy"], [], ["livy"], [], ["livy"])][-1] == "undecided"
    assert node.round("livy").status == "unhealthy"


def test_with_a_threshold_of_one_the_first_failure_is_unhealthy():
    assert Node("1/1").round("hdfs").status == "unhealthy"


def test_all_checks_that_fail_are_named():
    node = Node()
    found = [node.round(*HTTP) for _ in range(3)][-1]
    assert [failure.check for failure in found.failures] == list(HTTP)
    assert found.message == "; ".join(f"{name} failed in 3 of 3 rounds: timed out" for name in HTTP)


def test_rounds_without_a_result_of_a_check_are_ignored():
    node = Node()
    node.round("livy")
    node.round("livy")
    for _ in range(20):
        node.now += ROUND_SECONDS
        assert node.history.add([Result("livy", node.now, ok=None)]).status == "undecided"
    assert node.round("livy").status == "unhealthy"


def test_an_ended_cluster_is_unhealthy_after_two_polls():
    node = Node()
    node.round()
    assert node.round(emr=node.said("final", "TERMINATING: x")).status == "undecided"
    found = node.round(emr=node.said("final"))
    assert (found.status, found.ended) == ("unhealthy", True)
    assert found.failures[0].check == EMR_STATE
    assert "USER_REQUEST" in found.failures[0].problem


def test_two_results_of_the_same_moment_count_once():
    node = Node()
    for _ in range(3):
        assert (
            node.history.add([Result(EC2_STATE, START, ok=False, problem="gone", kind="final")]).status != "unhealthy"
        )
    assert node.history.add([Result(EC2_STATE, START + 10, ok=False, problem="x", kind="final")]).ended


def test_one_stale_answer_that_the_cluster_has_ended_is_not_unhealthy():
    node = Node()
    node.round(emr=node.said("final"))
    assert node.round().status == "healthy"
    assert node.round(emr=node.said("final")).status == "undecided"


def test_failures_while_the_cluster_starts_do_not_count():
    node = Node()
    for _ in range(90):
        starting = node.said("starting", "cluster j-1 is BOOTSTRAPPING")
        assert node.round(*HTTP, emr=starting).status == "starting"
    assert not node.history.is_suspicious
    assert node.round("livy").status == "undecided"
    assert node.round().status == "healthy"


def test_an_instance_that_is_lost_while_the_cluster_starts_does_not_count():
    node = Node()
    node.round(emr=node.said("starting"))
    lost = Result(EC2_STATE, node.now + 20, ok=False, problem="terminated", kind="final")
    assert [node.history.add([lost, node.said("starting")]).status for _ in range(5)] == ["starting"] * 5


def test_a_cluster_is_unknown_only_when_the_answer_cannot_be_stale():
    node = Node()
    unknown = [node.history.add([Result(EMR_STATE, START + at, ok=None, kind="unknown")]).status for at in (0, 20, 40)]
    assert unknown == ["undecided"] * 3
    assert node.history.add([Result(EMR_STATE, START + 60, ok=None, kind="unknown")]).status == "unknown"


def test_refused_credentials_have_their_own_verdict():
    node = Node()
    assert [node.round("livy", kind="refused").status for _ in range(3)] == ["undecided", "undecided", "refused"]


def test_refusals_do_not_count_as_failures_of_the_node():
    node = Node()
    assert [node.round("livy", kind=kind).status for kind in ("refused", "refused", "", "")] == ["undecided"] * 4
    assert node.round("livy").status == "unhealthy"


def test_a_failed_check_together_with_a_refused_one_is_unhealthy():
    node = Node()
    for _ in range(3):
        node.now += ROUND_SECONDS
        found = node.history.add(
            [
                Result("livy", node.now, ok=False, problem="401", kind="refused"),
                Result("yarn", node.now, ok=False, problem="down"),
            ]
        )
    assert (found.status, [failure.check for failure in found.failures]) == ("unhealthy", ["yarn"])


def test_healthy_needs_a_recent_success_of_every_check():
    node = Node()
    assert node.history.add([Result(name, START, ok=True) for name in HTTP]).status == "undecided"
    assert node.round().status == "healthy"
    later = START + 1000
    assert node.history.add([Result(name, later, ok=True) for name in HTTP]).status == "undecided", "EMR's is old"


def test_healthy_may_need_several_rounds():
    node = Node("3/5", "2/2")
    assert [node.round().status for _ in range(2)] == ["undecided", "healthy"]


@pytest.mark.parametrize("wrong", ["3", "5/3", "0/3", "-1/3", "3/1000", "a/b", None, 3, "3/5/7", ""])
def test_a_malformed_threshold_is_refused(wrong):
    with pytest.raises(InvalidInputError, match="unhealthy_after"):
        Threshold.parse(wrong, parameter="unhealthy_after")


def test_a_threshold_is_written_in_the_format_that_it_is_parsed_from():
    assert str(Threshold.parse(" 3 / 5 ", parameter="x")) == "3/5"


thresholds = st.integers(2, 8).flatmap(lambda count: st.tuples(st.just(count), st.integers(count, 10)))


@given(thresholds, st.lists(st.booleans(), max_size=200))
def test_a_check_that_never_fails_twice_in_a_row_is_never_unhealthy(threshold, misses):
    node = Node("{}/{}".format(*threshold))
    missed = False
    for wanted in misses:
        missed = wanted and not missed
        assert node.round(*(["livy"] if missed else [])).status != "unhealthy"


@given(thresholds, st.lists(st.sets(st.sampled_from(HTTP)), max_size=60))
def test_unhealthy_exactly_when_a_check_failed_often_enough_and_in_the_last_two_rounds(threshold, rounds):
    count, length = threshold
    node = Node(f"{count}/{length}")
    for k, failing in enumerate(rounds):
        found = node.round(*failing)
        windows = {name: [name in round_ for round_ in rounds[max(0, k + 1 - length) : k + 1]] for name in HTTP}
        expected = [name for name, window in windows.items() if sum(window) >= count and all(window[-2:])]
        assert [failure.check for failure in found.failures] == expected
        assert (found.status == "unhealthy") == bool(expected)


@given(st.lists(st.sampled_from(["final", "fine", "none"]), max_size=60))
def test_an_end_is_confirmed_exactly_when_no_poll_between_denied_it(looks):
    node, open_claim = Node(), False
    for look in looks:
        if look == "none":  # AWS gave no answer
            node.now += ROUND_SECONDS
            assert not node.history.add([Result("yarn", node.now, ok=True)]).ended
            continue
        found = node.round(emr=node.said("final") if look == "final" else None)
        assert found.ended == (open_claim and look == "final")
        open_claim = look == "final"
        if found.ended:
            return


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_rounds_with_one_flapping_check_have_no_false_verdict(seed):
    """It flaps at random, never two rounds in a row; another check misses one round in a hundred."""
    chance, node, missed, verdicts = random.Random(seed), Node(), False, 0
    for _ in range(10_000):
        missed = not missed and chance.random() < 0.8
        rare = chance.random() < 0.01
        found = node.round(*(["livy"] * missed), *(["hdfs"] * rare))
        verdicts += found.status == "unhealthy"
    assert verdicts == 0


@pytest.mark.parametrize("down_at", [0, 1, 7, 501])
def test_a_real_outage_of_a_flapping_check_is_found_within_three_rounds(down_at):
    chance, node, missed = random.Random(down_at), Node(), False
    for _ in range(down_at):
        missed = not missed and chance.random() < 0.5
        node.round(*(["livy"] * missed))
    statuses = [node.round("livy").status for _ in range(3)]
    assert "unhealthy" in statuses
