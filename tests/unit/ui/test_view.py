"""What a viewer may see of a record, and what is said when there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_eip_provider.lease.record import TAKEN_OVER, UNDONE, Phase, Record
from airflow_eip_provider.ui.clusters import cluster_view
from airflow_eip_provider.ui.names import HIDDEN, Viewer, task_of
from airflow_eip_provider.ui.past import past_leases, usage_of
from airflow_eip_provider.ui.period import duration, percentile
from airflow_eip_provider.ui.view import page_of
from tests.unit.ui.stories import (
    ALLOCATION,
    BUSY,
    EVERYONE,
    FREE,
    HOUR,
    NOBODY,
    NOW,
    SECOND,
    THIRD,
    address,
    ended,
    entry,
    lease,
    owner,
    reading,
    snapshot,
)


def view(record, viewer=EVERYONE, period="7d", **values):
    (shown,) = page_of(snapshot(reading(record, **values)), viewer, period=period).addresses
    return shown


def test_the_holder_the_queue_and_the_grace():
    shown = view(BUSY, waits={501: 900.0}, address=address(on="i-1"))
    assert (shown.state, shown.kind, shown.problems, shown.grace) == ("in use", "active", (), 120.0)
    assert shown.place == "on i-1"
    assert (shown.holder.owner.task.dag_id, shown.holder.cluster.text) == ("holder", "j-HOLDER000001")
    assert (shown.holder.since, shown.holder.seconds, shown.holder.waited) == (NOW - 1800, 1800, 900)
    assert [(waiter.place, waiter.seconds, waiter.passed) for waiter in shown.queue] == [
        (1, 1440, 0),
        (2, 1140, 1),
        (3, 720, 0),
        (4, 360, 0),
        (5, 30, 0),
    ]
    assert shown.queue[0].cluster.text == "j-EARLY0000001"
    assert shown.queue[1].window == 240


@pytest.mark.parametrize(
    ("phase", "state"), [(Phase.ACQUIRED, "starting"), (Phase.ACTIVE, "in use"), (Phase.RELEASING, "ending")]
)
def test_each_phase_has_a_state(phase, state):
    assert view(Record(lease=lease(1, phase=phase))).state == state


def test_a_free_address_is_reserved_for_the_first_in_the_queue():
    kept = Record(free_since=NOW - 20, queue=(entry(2, minutes=9),), grace=120.0)
    assert "100 s more" in view(kept).detail
    assert "took it" in view(replace(kept, free_since=NOW - 200)).detail
    assert view(replace(kept, queue=())).detail == "no owner waits"


def test_only_leases_that_ended_in_the_period_are_shown_the_newest_first():
    day = view(BUSY, period="24h")
    month = view(BUSY, period="30d")
    assert 10 < len(day.history) < len(month.history) <= 500
    assert [past.lease.token for past in day.history][:2] == [500, 499]
    assert all(past.lease.ended_at >= NOW - 24 * HOUR for past in day.history)
    assert (month.kept, month.cut) == (500, True)
    assert not view(FREE).cut


def test_an_unknown_period_means_the_default():
    assert page_of(snapshot(), EVERYONE, period="<script>").period == "7d"


def test_idle_share_starts_at_the_first_known_lease():
    record = Record(
        history=(ended(1, hours_ago=10, hours=2), ended(2, hours_ago=4, hours=1)), lease=lease(3, minutes=60)
    )
    usage = usage_of(record, since=NOW - 7 * 24 * HOUR, now=NOW)
    assert (usage.since, usage.idle_share) == (NOW - 10 * HOUR, pytest.approx(0.6))
    cut_in = usage_of(record, since=NOW - 9 * HOUR, now=NOW)
    assert cut_in.idle_share == pytest.approx(1 - 3 / 9)
    assert usage_of(Record(), since=0.0, now=NOW).idle_share is None


def test_percentiles_use_the_known_waits():
    figures = view(BUSY, waits={501: 50.0, 500: 10.0, 499: 20.0, 498: 30.0, 497: 40.0}).figures
    assert (figures.known_waits, figures.waits) == (5, (30.0, 50.0, 50.0))
    assert view(BUSY).figures.waits is None


def test_percentile_by_nearest_rank():
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.9, 1)] == [50, 90, 100]
    assert percentile([7.0], 0.5) == 7
    assert percentile([], 0.5) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (440, "7 min 20 s"), (3599, "59 min"), (7500, "2 h 05 min"), (273600, "3 d 4 h")],
)
def test_durations_have_their_two_largest_units(seconds, text):
    assert duration(seconds) == text


def test_a_viewer_who_may_read_no_dag_sees_no_dag_name():
    shown = view(BUSY, NOBODY, waits={500: 60.0})
    names = [shown.holder.owner, *(waiter.owner for waiter in shown.queue), *(past.owner for past in shown.history)]
    assert {name.text for name in names} == {HIDDEN}
    titles = " ".join(bar.title for bar in shown.timeline.bars)
    assert "daily" not in titles
    assert "holder" not in titles
    assert "other_team" not in titles


def test_permissions_are_checked_for_each_dag():
    asked = []
    viewer = Viewer("prod", lambda dag_id: asked.append(dag_id) or dag_id == "holder")
    shown = view(Record(lease=lease(1), queue=(entry(2, minutes=1),)), viewer)
    assert (shown.holder.owner.hidden, shown.queue[0].owner.hidden) == (False, True)
    assert set(asked) == {"holder", "waits_2"}


def test_names_of_another_environment_need_permission_for_every_dag():
    asked = []
    other = owner("holder", 1, "staging")
    record = Record(lease=lease(1, name=other))
    hidden = view(record, Viewer("prod", lambda dag_id: asked.append(dag_id) or dag_id == "holder")).holder.owner
    assert hidden.hidden
    assert all("/" in dag_id for dag_id in asked), "no DAG has such an id, so only a right to all says yes"
    seen = view(record, EVERYONE).holder.owner
    assert (seen.text, seen.is_own) == (other, False)


def test_a_cluster_that_no_task_launched_names_no_dag():
    name = "prod/cluster/j-1ABC"
    assert view(Record(lease=lease(1, name=name)), NOBODY).holder.owner.text == name


@pytest.mark.parametrize(
    "why", ["released because of DAG secret", f"{TAKEN_OVER}: j-1 has ended", UNDONE, "terminated"]
)
def test_a_reason_that_may_name_something_is_hidden_with_its_owner(why):
    (past,) = view(Record(history=(ended(1, hours_ago=2, why=why),)), NOBODY).history
    assert "secret" not in past.why
    assert past.why in {TAKEN_OVER, UNDONE, "terminated", "ended"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("prod/dag/run/task/-1", ("prod", "dag", "run", "task", -1)),
        ("prod/dag/a/b/c/task/7", ("prod", "dag", "a/b/c", "task", 7)),
        ("prod/dag/run/task/x", None),
        ("prod/dag/task/1", None),
        ("", None),
    ],
)
def test_owner_names_are_parsed(name, parts):
    task = task_of(name)
    assert (task and (task.environment, task.dag_id, task.run_id, task.task_id, task.map_index)) == parts


def test_differences_between_ec2_and_the_record_are_problems():
    assert "no owner has its lease" in view(FREE, address=address(on="i-1")).problems[0]
    assert "not associated" in view(BUSY, address=address()).problems[0]
    assert view(FREE, address=address()).problems == ()
    assert view(BUSY, address=address(on="i-1")).problems == ()
    gone = view(BUSY, address=None)
    assert "no such address" in gone.place


def test_an_unreadable_record_does_not_affect_other_addresses():
    page = page_of(
        snapshot(
            reading(None, problem="the record is corrupt"),
            reading(None, SECOND),
            reading(BUSY, THIRD),
        ),
        EVERYONE,
    )
    corrupt, missing, there = page.addresses
    assert (corrupt.state, corrupt.problems) == ("not known", ("the record is corrupt",))
    assert (missing.state, missing.problems) == ("never leased", ())
    assert len(there.queue) == 5


def test_without_a_store_the_state_comes_from_ec2():
    page = page_of(
        snapshot(reading(None), reading(None, SECOND, address=address(SECOND, on="i-9")), lock_store=None), EVERYONE
    )
    assert [(shown.state, shown.place) for shown in page.addresses] == [
        ("free", "not associated"),
        ("in use", "on i-9"),
    ]


def test_the_timeline_has_exact_times_and_ends_at_the_period():
    line = view(BUSY, period="24h", waits={501: 900.0, 500: 60.0}, address=address(on="i-1")).timeline
    (holder,) = [bar for bar in line.bars if bar.kind == "active"]
    assert "2026-11-28 21:30:00Z to 2026-11-28 22:00:00Z, 30 min" in holder.title
    assert holder.left + holder.width == pytest.approx(100, abs=0.01)
    assert all(0 <= bar.left <= 100 and bar.left + bar.width <= 100.01 for bar in line.bars)
    assert len([bar for bar in line.bars if bar.kind == "queue"]) == 5 + 2
    assert {bar.kind for bar in line.bars} == {"past", "broken", "active", "start", "queue"}
    assert line.ticks


@pytest.mark.parametrize("period", ["6h", "24h", "7d", "30d"])
def test_the_axis_has_few_ticks(period):
    ticks = view(BUSY, period=period).timeline.ticks
    assert 3 <= len(ticks) <= 9
    assert all(2 <= tick.left <= 97 for tick in ticks)


@pytest.mark.parametrize(
    ("region", "begin"),
    [
        ("eu-west-1", "https://console.aws.amazon.com/emr/home?region=eu-west-1#/clusterDetails/j-1"),
        ("cn-north-1", "https://console.amazonaws.cn/"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/"),
    ],
)
def test_clusters_link_to_the_console_of_their_partition(region, begin):
    assert cluster_view("j-1", region).href.startswith(begin)


def test_only_clusters_are_links():
    assert cluster_view("i-1", "eu-west-1").href is None
    assert cluster_view("j-1/../../evil", "eu-west-1").href is None
    assert cluster_view(None, "eu-west-1") is None


def test_past_leases_have_the_known_waits():
    record = Record(history=(ended(1, hours_ago=9), ended(2, hours_ago=3)))
    assert [(past.token, past.waited) for past in past_leases(record, since=0.0, waits={2: 5.0})] == [
        (2, 5.0),
        (1, None),
    ]


def test_the_allocation_id_is_shown_without_an_answer_of_ec2():
    assert view(BUSY, address=None, address_problem="EC2 is down").allocation_id == ALLOCATION


def test_an_owner_in_the_queues_of_several_addresses_is_counted_once():
    everywhere = entry(510, minutes=3, name=owner("any"))
    other = replace(FREE, lease=lease(9), queue=(replace(everywhere, token=7),))
    both = replace(BUSY, queue=(*BUSY.queue, everywhere))
    shown = page_of(snapshot(reading(both), reading(other, SECOND), reading(FREE, THIRD)), EVERYONE)
    assert [[waiter.addresses for waiter in address.queue] for address in shown.addresses] == [
        [1, 1, 1, 1, 1, 2],
        [2],
        [],
    ]
    assert (shown.waiting, shown.waiting_for_several) == (6, 1)
