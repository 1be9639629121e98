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
    expected_end,
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


class Waits:
    """
    The records of one or two addresses, and what EMR knows of their clusters; the job "first" holds the first address.

    :param holders: the leases of the other addresses.
    """

    def __init__(
        self,
        *before: tuple[EndedLease, ClusterTimes],
        queue: tuple[str, ...] = ("second",),
        holders: tuple[Lease, ...] = (),
    ) -> None:
        entries = tuple(
            Entry(token, attempt(job), TODAY, "cluster", 3600.0) for token, job in enumerate(queue, start=101)
        )
        record = Record(issued=110, lease=active("first", "j-holder"), queue=entries)
        ended = tuple(lease for lease, _ in before)
        jobs = [job_of(lease.attempt.name) for lease in holders]
        others = [
            replace(record, lease=lease, history=tuple(past for past in ended if job_of(past.owner) == job))
            for lease, job in zip(holders, jobs, strict=True)
        ]
        here = tuple(past for past in ended if job_of(past.owner) not in jobs)
        self.records = [replace(record, history=here), *others]
        self.times = {str(lease.resource_id): times for lease, times in before}
        self.times |= {name: ClusterTimes(TODAY - START_UP, TODAY) for name in ("j-holder", "j-slow")}

    def set_lease(self, **changes: object) -> None:
        """Change the lease of the first address."""
        lease = self.records[0].lease
        assert lease is not None
        self.records[0] = replace(self.records[0], lease=replace(lease, **changes))

    def started(self, job: str, *, after: float) -> None:
        """The owner starts its cluster after so many seconds of the holder's lease."""
        for index, record in enumerate(self.records):
            queue = (replace(e, prewarmed_at=TODAY + after) if e.attempt == attempt(job) else e for e in record.queue)
            self.records[index] = replace(record, queue=tuple(queue))

    def places(self, job: str = "second", *, after: float) -> int:
        return prewarm_places(self.records, attempt(job).owner, self.times, now=TODAY + after)

    def starts(self, job: str = "second") -> int | None:
        """Return after how many whole seconds of the holder's lease the owner may start its cluster."""
        return next((after for after in range(7200) if self.places(job, after=after)), None)

    def asked(self, job: str = "second") -> frozenset[str]:
        return clusters_asked_for(self.records, attempt(job).owner)


def active(job: str, job_flow_id: str) -> Lease:
    return Lease(100, attempt(job), Phase.ACTIVE, TODAY, TODAY, TODAY + 3600, "cluster", job_flow_id)


SLOW = active("slow", "j-slow")


def test_the_cluster_is_ready_when_the_address_becomes_free():
    assert Waits(past("first", 1), past("second", 2)).starts() == WORK - START_UP


def test_the_average_of_the_newest_leases_counts_less_an_eighth_of_what_the_longest_has_above_it():
    varied = [past("first", day, work=WORK + 100 * day) for day in (1, 2, 3, 5, 7)]
    average, longest = WORK + 500, WORK + 700
    earlier = (longest - average) / 8
    assert Waits(*varied, past("second", 8)).starts() == average - earlier - START_UP, f"the newest {LEASES}"


def test_the_longest_lets_it_idle_for_a_bounded_time():
    waits = Waits(*(past("first", day, work=work) for day, work in enumerate((1000, 1000, 3000))), past("second", 4))
    start_up = 1200.0
    waits.times["j-second4"] = ClusterTimes(4 * DAY - start_up, 4 * DAY)
    average, longest = 5000 / 3, 3000.0
    due = average - (longest - average) / 8 - start_up
    assert due < longest - start_up - MOST_IDLE_SECONDS == waits.starts()


def test_leases_that_were_over_sooner_than_the_holders_do_not_count():
    waits = Waits(past("first", 1, work=100), past("first", 2, work=2000), past("second", 3))
    assert waits.starts() == 2000 - START_UP, "and not some time before the average, 1050"


def test_a_holder_that_takes_longer_than_ever_is_expected_to_end_at_any_moment():
    assert Waits(past("first", 1), past("second", 2)).places(after=3 * WORK) == 1


def test_the_holders_work_begins_when_its_cluster_is_ready():
    waits = Waits(past("first", 1), past("second", 2))
    waits.times["j-holder"] = ClusterTimes(TODAY - 100, None)
    assert waits.starts() == WORK - 100, "200 s until it is ready, and then its work"


def test_those_before_it_in_the_queue_count():
    before = (past("first", 1), past("second", 2, work=150), past("third", 3, work=50), past("fourth", 4))
    waits = Waits(*before, queue=("second", "third", "fourth"))
    assert waits.starts("second") == WORK - START_UP
    waits.started("second", after=WORK - START_UP)
    assert waits.starts("third") == WORK + 150 - START_UP
    waits.started("third", after=WORK + 150 - START_UP)
    assert waits.starts("fourth") == WORK + 200 - START_UP
    assert waits.places("fourth", after=WORK) == 3, "among three places, or the first two could not start theirs"


def test_who_starts_its_cluster_late_keeps_the_address_from_those_behind_it_for_longer():
    waits = Waits(past("first", 1), past("second", 2, work=150), past("third", 3), queue=("second", "third"))
    assert waits.starts("third") is None, "no cluster of the second is ready sooner than after a start-up"
    waits.started("second", after=WORK)
    assert waits.starts("third") == WORK + 150


def test_the_start_up_of_others_counts_where_the_job_has_had_no_cluster():
    assert Waits(past("first", 1)).starts() == WORK - START_UP


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
    waits = Waits(*before, queue=("second", "third"))
    assert waits.starts() is None
    waits.set_lease(phase=Phase.RELEASING)
    assert waits.places(after=1) == 1
    assert waits.places("third", after=1) == 0


def test_what_emr_has_forgotten_is_not_known():
    waits = Waits(past("first", 1), past("second", 2))
    del waits.times["j-first1"]
    assert waits.starts() is None


@pytest.mark.parametrize("phase", [Phase.ACQUIRED, None])
def test_before_the_holder_has_its_address_nobody_starts_early(phase):
    waits = Waits(past("first", 1), past("second", 2))
    if phase is None:
        waits.records[0] = replace(waits.records[0], lease=None)
    else:
        waits.set_lease(phase=phase)
    assert waits.starts() is None
    assert waits.asked() == frozenset()


def test_nobody_starts_early_twice_or_from_far_behind():
    jobs = [f"job{number}" for number in range(MOST_PLACES + 1)]
    waits = Waits(past("first", 1), *(past(job, 2, work=1) for job in jobs), queue=tuple(jobs))
    for job in jobs[:-2]:
        waits.started(job, after=0)
    assert waits.places(jobs[-2], after=WORK) == MOST_PLACES
    assert waits.places(jobs[-1], after=WORK) == 0
    assert waits.places(jobs[0], after=WORK) == 0


def test_it_asks_for_the_clusters_of_the_newest_leases_of_the_jobs_before_it_only():
    before = [past("first", day) for day in range(1, 6)] + [past("second", 6), past("other", 7)]
    assert Waits(*before).asked() == {"j-first3", "j-first4", "j-first5", "j-second6", "j-holder"}


def test_an_instance_has_no_start_up():
    waits = Waits(past("first", 1))
    waits.set_lease(resource_id="i-1")
    assert waits.asked() == {"j-first1"}
    assert waits.starts() is None


def test_a_job_is_one_task_of_one_dag_in_one_environment():
    assert job_of("prod/daily/manual__2026/11/28/create/-1") == job_of("prod/daily/scheduled/create/3")
    assert job_of("prod/daily/run/create/-1") != job_of("test/daily/run/create/-1")
    assert job_of("prod/daily/run/create/-1") != job_of("prod/daily/run/second/-1")


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
    before = [past("first", 1), past("second", 2, work=second_work), past("third", 3)]
    if slow_work is not None:
        before.append(past("slow", 1, work=slow_work))
    waits = Waits(*before, queue=("second", "third"), holders=(SLOW,))
    assert waits.starts("second") == WORK - START_UP
    waits.started("second", after=WORK - START_UP)
    assert waits.starts("third") == third_starts
    assert waits.asked("third") == waits.times.keys()


def test_an_owner_starts_one_cluster_whichever_address_it_will_have():
    waits = Waits(past("first", 1), past("second", 2), past("slow", 1), holders=(SLOW,))
    started = replace(waits.records[0].queue[0], prewarmed_at=TODAY)
    waits.records[1] = replace(waits.records[1], queue=(started,))
    assert waits.asked() == frozenset()
    assert waits.places(after=WORK) == 0


def test_of_several_addresses_one_lease_is_expected_to_be_as_short_as_the_shortest_of_its_job():
    varied = [past("first", day, work=work) for day, work in enumerate((WORK - 200, WORK, WORK + 200), start=1)]
    assert Waits(*varied, past("second", 4)).starts() == WORK - 200 / 8 - START_UP, "of one address near the average"
    waits = Waits(*varied, past("slow", 5, work=5 * WORK), past("second", 6), holders=(SLOW,))
    assert waits.starts() == WORK - 200 - START_UP


def test_an_address_of_whose_holder_nothing_is_known_keeps_nobody_from_estimating_the_others():
    assert Waits(past("first", 1), past("second", 2), holders=(SLOW,)).starts() == WORK - START_UP
    assert Waits(past("second", 2), holders=(SLOW,)).starts() is None


def test_a_lease_without_a_cluster_is_expected_to_get_one_at_once():
    acquired = replace(SLOW, phase=Phase.ACQUIRED, resource_id=None)
    waits = Waits(past("first", 1, work=5 * WORK), past("slow", 2, work=100.0), past("second", 3), holders=(acquired,))
    assert "j-slow2" in waits.asked()
    assert waits.starts() == START_UP + 100 - START_UP
    waits.records = waits.records[1:]
    assert waits.places(after=5000) == 0, "no cluster starts early behind it"


def test_people_are_told_when_the_lease_probably_ends_from_longer_leases_of_its_job():
    ended = [EndedLease(day, attempt("first").name, f"j-{day}", 0.0, 600.0 * day, "terminated") for day in (1, 2, 3)]
    record = Record(lease=active("first", "j-holder"), history=tuple(ended))
    assert expected_end(record, now=TODAY + 60) == (TODAY + 1200, 3)
    assert expected_end(record, now=TODAY + 900) == (TODAY + 1500, 2)
    assert expected_end(record, now=TODAY + 1800) is None
    assert expected_end(replace(record, lease=active("other", "j-holder")), now=TODAY) is None
    assert expected_end(replace(record, lease=None), now=TODAY) is None
