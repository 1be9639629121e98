"""When a queue entry starts its cluster early, by the leases before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_eip_provider.lease.forecast import (
    LEASES,
    MOST_IDLE_SECONDS,
    MOST_PLACES,
    ClusterTimes,
    clusters_asked_for,
    job_of,
    prewarm_places,
)
from airflow_eip_provider.lease.record import Attempt, EndedLease, Entry, Lease, Phase, Record

DAY = 86_400.0
START_UP, WORK = 300.0, 600.0
# The holder's cluster was ready, and it got the address, when the day began.
TODAY = 10 * DAY


def owner(job: str, run: str = "scheduled__2026-11-28") -> str:
    return f"prod/{job}/{run}/create/-1"


def attempt(job: str) -> Attempt:
    return Attempt(f"digest of {job}", owner(job), 1, "nonce")


def past(job: str, number: int, *, work: float = WORK, why: str = "terminated") -> tuple[EndedLease, ClusterTimes]:
    """Return a lease some days ago: its cluster was ready when it got the address."""
    began = number * DAY
    cluster = f"j-{job}{number}"
    ended = EndedLease(number, owner(job, f"run-{number}"), cluster, began, began + work, why)
    return ended, ClusterTimes(began - START_UP, began)


class Days:
    """A record whose holder is the job "first", and what EMR knows of its clusters."""

    def __init__(self, *before: tuple[EndedLease, ClusterTimes], queue: tuple[str, ...] = ("second",)) -> None:
        entries = tuple(
            Entry(token, attempt(job), TODAY, "cluster", 3600.0) for token, job in enumerate(queue, start=101)
        )
        lease = Lease(100, attempt("first"), Phase.ACTIVE, TODAY, TODAY, TODAY + 3600, "cluster", "j-holder")
        self.record = Record(issued=110, lease=lease, queue=entries, history=tuple(lease for lease, _ in before))
        self.times = {str(lease.resource_id): times for lease, times in before}
        self.times["j-holder"] = ClusterTimes(TODAY - START_UP, TODAY)

    def started(self, job: str, *, after: float) -> None:
        """The owner starts its cluster after so many seconds of the holder's lease."""
        of = attempt(job)
        queue = (replace(e, prewarmed_at=TODAY + after) if e.attempt == of else e for e in self.record.queue)
        self.record = replace(self.record, queue=tuple(queue))

    def places(self, job: str = "second", *, after: float) -> int:
        return prewarm_places([self.record], attempt(job).owner, self.times, now=TODAY + after)

    def starts(self, job: str = "second") -> int | None:
        """Return after how many whole seconds of the holder's lease the owner may start its cluster."""
        return next((after for after in range(7200) if self.places(job, after=after)), None)


def test_the_cluster_is_ready_when_the_address_becomes_free():
    assert Days(past("first", 1), past("second", 2)).starts() == WORK - START_UP


def test_the_average_of_the_newest_leases_counts_less_an_eighth_of_what_the_longest_has_above_it():
    varied = [past("first", day, work=WORK + 100 * day) for day in (1, 2, 3, 5, 7)]
    average, longest = WORK + 500, WORK + 700
    earlier = (longest - average) / 8
    assert Days(*varied, past("second", 8)).starts() == average - earlier - START_UP, f"the newest {LEASES}"


def test_the_longest_lets_it_idle_for_a_bounded_time():
    days = Days(*(past("first", day, work=work) for day, work in enumerate((1000, 1000, 3000))), past("second", 4))
    start_up = 1200.0
    days.times["j-second4"] = ClusterTimes(4 * DAY - start_up, 4 * DAY)
    average, longest = 5000 / 3, 3000.0
    due = average - (longest - average) / 8 - start_up
    assert due < longest - start_up - MOST_IDLE_SECONDS == days.starts()


def test_leases_that_were_over_sooner_than_the_holders_do_not_count():
    days = Days(past("first", 1, work=100), past("first", 2, work=2000), past("second", 3))
    assert days.starts() == 2000 - START_UP, "and not some time before the average, 1050"


def test_a_holder_that_takes_longer_than_ever_is_expected_to_end_at_any_moment():
    assert Days(past("first", 1), past("second", 2)).places(after=3 * WORK) == 1


def test_the_holders_work_begins_when_its_cluster_is_ready():
    days = Days(past("first", 1), past("second", 2))
    days.times["j-holder"] = ClusterTimes(TODAY - 100, None)
    assert days.starts() == WORK - 100, "200 s until it is ready, and then its work"


def test_those_before_it_in_the_queue_count():
    before = (past("first", 1), past("second", 2, work=150), past("third", 3, work=50), past("fourth", 4))
    days = Days(*before, queue=("second", "third", "fourth"))
    assert days.starts("second") == WORK - START_UP
    days.started("second", after=WORK - START_UP)
    assert days.starts("third") == WORK + 150 - START_UP
    days.started("third", after=WORK + 150 - START_UP)
    assert days.starts("fourth") == WORK + 200 - START_UP
    assert days.places("fourth", after=WORK) == 3, "among three places, or the first two could not start theirs"


def test_who_starts_its_cluster_late_keeps_the_address_from_those_behind_it_for_longer():
    days = Days(past("first", 1), past("second", 2, work=150), past("third", 3), queue=("second", "third"))
    assert days.starts("third") is None, "no cluster of the second is ready sooner than after a start-up"
    days.started("second", after=WORK)
    assert days.starts("third") == WORK + 150


def test_the_start_up_of_others_counts_where_the_job_has_had_no_cluster():
    assert Days(past("first", 1)).starts() == WORK - START_UP


@pytest.mark.parametrize(
    "before",
    [
        (),
        (past("second", 1),),
        (past("first", 1, why="undone"),),
        (past("first", 1, why="taken over: j-first1 has ended"),),
    ],
    ids=["nothing", "the waiter's own", "undone", "taken over"],
)
def test_where_the_holders_work_is_not_known_it_waits_for_the_release(before):
    days = Days(*before, queue=("second", "third"))
    assert days.starts() is None
    assert days.record.lease is not None
    days.record = replace(days.record, lease=replace(days.record.lease, phase=Phase.RELEASING))
    assert days.places(after=1) == 1
    assert days.places("third", after=1) == 0


def test_what_emr_has_forgotten_is_not_known():
    days = Days(past("first", 1), past("second", 2))
    del days.times["j-first1"]
    assert days.starts() is None


@pytest.mark.parametrize("phase", [Phase.ACQUIRED, None])
def test_before_the_holder_has_its_address_nobody_starts_early(phase):
    days = Days(past("first", 1), past("second", 2))
    assert days.record.lease is not None
    lease = None if phase is None else replace(days.record.lease, phase=phase)
    days.record = replace(days.record, lease=lease)
    assert days.starts() is None
    assert clusters_asked_for([days.record], attempt("second").owner) == frozenset()


def test_nobody_starts_early_twice_or_from_far_behind():
    jobs = [f"job{number}" for number in range(MOST_PLACES + 1)]
    days = Days(past("first", 1), *(past(job, 2, work=1) for job in jobs), queue=tuple(jobs))
    for job in jobs[:-2]:
        days.started(job, after=0)
    assert days.places(jobs[-2], after=WORK) == MOST_PLACES
    assert days.places(jobs[-1], after=WORK) == 0
    assert days.places(jobs[0], after=WORK) == 0


def test_it_asks_for_the_clusters_of_the_newest_leases_of_the_jobs_before_it_only():
    before = [past("first", day) for day in range(1, 6)] + [past("second", 6), past("other", 7)]
    asked = clusters_asked_for([Days(*before).record], attempt("second").owner)
    assert asked == {"j-first3", "j-first4", "j-first5", "j-second6", "j-holder"}


def test_an_instance_has_no_start_up():
    days = Days(past("first", 1))
    assert days.record.lease is not None
    days.record = replace(days.record, lease=replace(days.record.lease, resource_id="i-1"))
    assert clusters_asked_for([days.record], attempt("second").owner) == {"j-first1"}
    assert days.starts() is None


def test_a_job_is_one_task_of_one_dag_in_one_environment():
    assert job_of("prod/daily/manual__2026/11/28/create/-1") == job_of("prod/daily/scheduled/create/3")
    assert job_of("prod/daily/run/create/-1") != job_of("test/daily/run/create/-1")
    assert job_of("prod/daily/run/create/-1") != job_of("prod/daily/run/second/-1")


def two_addresses(*before: tuple[EndedLease, ClusterTimes], slow_work: float | None) -> list[Record]:
    """Return two records: "first" has one address, "slow" the other; "second" and "third" wait for both."""
    queue = ("second", "third")
    here, there = Days(*before, queue=queue).record, Days(queue=queue).record
    assert there.lease is not None
    slow = replace(there.lease, attempt=attempt("slow"), resource_id="j-slow")
    known = () if slow_work is None else (past("slow", 1, work=slow_work)[0],)
    return [here, replace(there, lease=slow, history=known)]


@pytest.mark.parametrize(
    ("slow_work", "second_work", "third_starts"),
    [
        (2 * WORK, 150.0, WORK + 150 - START_UP),  # after "second", at the same address
        (2 * WORK, 900.0, 2 * WORK - START_UP),  # at the other address
        (None, 150.0, WORK + 150 - START_UP),  # when the other becomes free is not known
    ],
)
def test_those_who_wait_for_several_addresses_take_them_in_the_order_in_which_they_become_free(
    slow_work, second_work, third_starts
):
    before = (past("first", 1), past("second", 2, work=second_work), past("third", 3))
    records = two_addresses(*before, slow_work=slow_work)
    times = {lease.resource_id: of for lease, of in (*before, past("slow", 1))}
    times |= {name: ClusterTimes(TODAY - START_UP, TODAY) for name in ("j-holder", "j-slow")}

    def starts(job: str) -> int | None:
        who = attempt(job).owner
        return next((s for s in range(7200) if prewarm_places(records, who, times, now=TODAY + s)), None)

    assert starts("second") == WORK - START_UP
    entries = (replace(records[0].queue[0], prewarmed_at=TODAY + WORK - START_UP), records[0].queue[1])
    records = [replace(record, queue=entries) for record in records]
    assert starts("third") == third_starts
    assert {"j-first1", "j-second2", "j-third3", "j-holder", "j-slow"} - set(times) == set()
    asked = clusters_asked_for(records, attempt("third").owner)
    assert asked == times.keys() - (set() if slow_work else {"j-slow1"})


def test_an_owner_starts_one_cluster_whichever_address_it_will_have():
    before = (past("first", 1), past("second", 2))
    here, there = two_addresses(*before, slow_work=WORK)
    started = replace(here.queue[0], prewarmed_at=TODAY)
    records = [there, replace(here, queue=(started, *here.queue[1:]))]
    assert clusters_asked_for(records, attempt("second").owner) == frozenset()
    assert prewarm_places(records, attempt("second").owner, {}, now=TODAY + WORK) == 0


class Pool:
    """Two addresses for one owner: the holder of one is the job "first", that of the other the job "slow"."""

    def __init__(self, *before: tuple[EndedLease, ClusterTimes], other: Lease | None = None) -> None:
        one = Days(*before)
        two = Days()
        lease = replace(two.record.lease, attempt=attempt("slow"), resource_id="j-slow") if other is None else other
        self.records = [one.record, replace(two.record, lease=lease)]
        self.times = {**one.times, "j-slow": ClusterTimes(TODAY - START_UP, TODAY)}

    def places(self, *, after: float) -> int:
        return prewarm_places(self.records, attempt("second").owner, self.times, now=TODAY + after)

    def starts(self) -> int | None:
        """Return after how many whole seconds the owner may start its cluster."""
        return next((after for after in range(7200) if self.places(after=after)), None)


def test_of_several_addresses_one_lease_is_expected_to_be_as_short_as_the_shortest_of_its_job():
    varied = [past("first", day, work=work) for day, work in enumerate((WORK - 200, WORK, WORK + 200), start=1)]
    assert Days(*varied, past("second", 4)).starts() == WORK - 200 / 8 - START_UP, "of one address near the average"
    pool = Pool(*varied, past("slow", 5, work=5 * WORK), past("second", 6))
    assert pool.starts() == WORK - 200 - START_UP


def test_an_address_of_whose_holder_nothing_is_known_keeps_nobody_from_estimating_the_others():
    assert Pool(past("first", 1), past("second", 2)).starts() == WORK - START_UP
    assert Pool(past("second", 2)).starts() is None


def test_a_lease_without_a_cluster_is_expected_to_get_one_at_once():
    acquired = Lease(100, attempt("slow"), Phase.ACQUIRED, TODAY, TODAY, TODAY + 3600, "cluster")
    known = (past("first", 1, work=5 * WORK), past("slow", 2, work=100.0), past("second", 3))
    pool = Pool(*known, other=acquired)
    assert "j-slow2" in clusters_asked_for(pool.records, attempt("second").owner)
    assert pool.starts() == START_UP + 100 - START_UP
    alone = prewarm_places(pool.records[1:], attempt("second").owner, pool.times, now=TODAY + 5000)
    assert alone == 0, "no cluster starts early behind it"
