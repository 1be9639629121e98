"""A failure that one stale answer of AWS may have caused is confirmed before it counts."""

from __future__ import annotations

from airflow_eip_provider.triggers.second_look import SecondLook
from airflow_eip_provider.triggers.verdict import Verdict

SUBMITTED = 1000.0


def away(place: str = "not associated", *, moved: bool = False) -> Verdict:
    return Verdict("failed", place, {"gone": "address", "place": place, "unconfirmed": place, "moved": moved})


BOUND = Verdict("pending", "bound", {"bound": True})


def statuses(since: float, *looks: tuple[float, Verdict]) -> list[str]:
    second_look = SecondLook(since)
    return [second_look.judge(verdict, now=SUBMITTED + at).status for at, verdict in looks]


def test_within_the_first_minute_a_lost_binding_is_not_confirmed():
    looks = [(float(at), away()) for at in (0, 15, 30, 45, 59)]
    assert statuses(SUBMITTED, *looks) == ["pending"] * 5
    assert statuses(SUBMITTED, *looks, (60.0, away()))[-1] == "failed"


def test_two_polls_ten_seconds_apart_with_the_same_failure_confirm_it():
    assert statuses(0.0, (0.0, away()), (9.9, away())) == ["pending", "pending"]
    assert statuses(0.0, (0.0, away()), (10.0, away())) == ["pending", "failed"]
    assert statuses(0.0, (0.0, away("on i-1")), (15.0, away("on i-2"))) == ["pending", "pending"]


def test_a_poll_that_shows_the_binding_restarts_the_confirmation():
    looks = [(0.0, away()), (15.0, BOUND), (30.0, away()), (45.0, away())]
    assert statuses(0.0, *looks) == ["pending", "pending", "pending", "failed"]


def test_within_the_first_minute_a_moved_address_is_not_confirmed_either():
    moved = away("on i-1", moved=True)
    assert statuses(SUBMITTED, (5.0, BOUND), (20.0, moved), (35.0, moved), (59.0, moved)) == ["pending"] * 4
    assert statuses(SUBMITTED, (5.0, BOUND), (20.0, away()), (30.0, away())) == ["pending"] * 3


def test_later_one_poll_confirms_that_a_bound_address_has_moved():
    moved = away("on i-1", moved=True)
    assert statuses(SUBMITTED, (5.0, BOUND), (60.0, moved)) == ["pending", "failed"]
    assert statuses(SUBMITTED, (60.0, moved)) == ["pending"]


def test_a_failure_without_a_claim_needs_no_confirmation():
    ended = Verdict("failed", "Cluster 'j-1' is TERMINATED", {"gone": "cluster"})
    assert statuses(SUBMITTED, (0.0, ended)) == ["failed"]


def test_an_unconfirmed_failure_has_no_gone_key():
    assert "gone" not in SecondLook(SUBMITTED).judge(away(), now=SUBMITTED).data
