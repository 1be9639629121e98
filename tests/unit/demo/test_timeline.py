from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from demo.timeline import chart, moments_rows, sessions
from tests.unit.demo.event_log import CLUSTERS, DAGS, START

if TYPE_CHECKING:
    from tests.unit.demo.event_log import Log


def test_a_session_has_its_moments_in_order(log: Log):
    found = sessions(log.events)
    assert [(session.owner, session.job_flow_id) for session in found] == list(zip(DAGS, CLUSTERS, strict=True))
    for session in found:
        numbers = [at.seq for _, at in session.moments() if at]
        assert numbers == sorted(numbers)
        assert len(numbers) == len(session.moments())


def test_a_cluster_without_an_owner_is_no_session(log: Log):
    log.call(30, "RunJobFlow", {"Name": "without-the-address"}, JobFlowId="j-3")
    assert len(sessions(log.events)) == 2


def test_a_refused_launch_is_no_session(log: Log):
    log.events[0]["error_code"] = "ThrottlingException"
    assert [session.owner for session in sessions(log.events)] == [DAGS[1]]


def test_a_moment_that_never_came_is_shown_as_such(log: Log):
    unbound = [event for event in log.events if event["kind"] != "address"]
    rows = {row[0]: row[1:] for row in moments_rows(sessions(unbound), start=START)}
    assert rows["Elastic IP bound"] == ("never", "never")
    assert rows["cluster terminated"] == ("7:00", "17:00")


def test_the_chart_shows_the_lanes_one_after_the_other(log: Log):
    wanted = {DAGS[1]: START + timedelta(minutes=2)}
    lines = chart(sessions(log.events), start=START, waiting_since=wanted)
    first, second = (line.split("|")[1] for line in lines[1:3])
    assert "." not in first
    assert second.index(".") < second.index("-") < second.index("=") < second.index("#") < second.index("~")
    assert first.rindex("=") < second.index("=")
