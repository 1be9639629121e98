"""What is read for the page, how often, and what is said when it cannot be read."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.stores.listing import list_addresses
from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.ui.shared_read import SharedRead
from airflow_eip_provider.ui.snapshot import NO_STORE, SnapshotReader, Source
from harness.simulated_clock import SimulatedClock
from tests.unit.ui.stories import ALLOCATION, BUSY, FREE, NOW, SECOND, THIRD, owner, task

if TYPE_CHECKING:
    from collections.abc import Iterator

STORE = "dynamodb://leases"
NAMES = (ALLOCATION, SECOND, THIRD)


class Aws:
    """DynamoDB and EC2, as far as the page asks them; every call is counted."""

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        self.texts = {ALLOCATION: to_text(BUSY), SECOND: to_text(FREE)} if texts is None else texts
        self.calls: Counter[str] = Counter()
        self.fails: dict[str, Exception] = {}
        self.meta = SimpleNamespace(region_name="eu-west-1")

    def client_for(self, service, region_name):
        return self

    def _count(self, call):
        self.calls[call] += 1
        if call in self.fails:
            raise self.fails[call]

    def get_item(self, *, TableName, Key, ConsistentRead):  # noqa: N803 - AWS's names
        self._count("GetItem")
        answer = {"ResponseMetadata": {"HTTPHeaders": {"date": formatdate(NOW, usegmt=True)}}}
        text = self.texts.get(Key["address"]["S"])
        return answer if text is None else {**answer, "Item": {"version": {"S": "1"}, "record": {"S": text}}}

    def get_paginator(self, operation):
        assert operation == "scan"
        return self

    def paginate(self, **asked):
        self._count("Scan")
        assert set(asked) == {"TableName", "ProjectionExpression", "ExpressionAttributeNames"}
        yield {"Items": [{"address": {"S": name}} for name in [*self.texts, "not-an-address"]]}

    def describe_addresses(self, **asked):
        self._count("DescribeAddresses")
        names = asked["Filters"][0]["Values"] if asked else NAMES
        return {"Addresses": [{"AllocationId": name, "PublicIp": "203.0.113.7", "Domain": "vpc"} for name in names]}


def reader(aws, *, lock_store=STORE, names=NAMES, read_starts=None):
    source = Source(lock_store, names, aws.client_for, "prod", read_starts)
    return SnapshotReader(lambda: source, refresh_seconds=5.0)


@pytest.fixture
def now() -> Iterator[list[float]]:
    """What the page's clock shows; the test turns it, and nothing sleeps."""
    shows = [0.0]
    with clock.used(SimulatedClock(lambda: shows[0], lambda seconds: None)):
        yield shows


def shared_read(read, *, seconds=5.0, patience=(30.0, 30.0), **kwargs):
    return SharedRead(read, seconds=seconds, late=lambda last: f"late: {last}", patience=patience, **kwargs)


def denied(action="GetItem"):
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, action)


def test_each_record_is_read_once_and_ec2_once_for_all():
    aws = Aws()
    shown = reader(aws)()
    assert aws.calls == {"GetItem": 3, "DescribeAddresses": 1}
    assert [found.allocation_id for found in shown.readings] == list(NAMES)
    assert [found.is_written for found in shown.readings] == [True, True, False]
    assert (shown.readings[0].now, shown.region, shown.problems) == (NOW, "eu-west-1", ())


def test_50_viewers_cause_one_read_per_address_in_5_seconds(now):
    """Two minutes of 50 viewers, in threads as a web server has them, and a clock that the test turns."""
    aws = Aws()
    shared = shared_read(reader(aws))
    seen = []

    def look():
        seen.append(len(shared.wait().readings))

    for second in range(120):
        now[0] = float(second)
        viewers = [threading.Thread(target=look) for viewer in range(50) if viewer % 5 == second % 5]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join()
    assert seen == [3] * (120 * 10)
    assert aws.calls["GetItem"] <= 3 * 120 / 5
    assert aws.calls["GetItem"] >= 3 * 120 / 5 - 3, "it is read again"
    assert aws.calls["DescribeAddresses"] <= 120 / 5


def test_requests_during_a_slow_read_share_it_without_holding_threads():
    entered, let_go, reads = threading.Event(), threading.Event(), []

    def slow():
        reads.append(1)
        entered.set()
        let_go.wait(30)
        return "read"

    shared = shared_read(slow, seconds=0.0)

    async def look():
        waiting = [asyncio.ensure_future(shared.wait_in_loop()) for _ in range(50)]
        await asyncio.to_thread(entered.wait, 30)
        threads = threading.active_count()
        let_go.set()
        return await asyncio.gather(*waiting), threads

    before = threading.active_count()
    answers, threads = asyncio.run(look())
    assert (answers, len(reads)) == (["read"] * 50, 1)
    assert threads <= before + 2, "the read's, and the one that this test waits in"


@pytest.mark.parametrize("in_loop", [False, True], ids=["thread", "loop"])
def test_requests_during_a_long_read_get_the_last_answer(in_loop, now):
    let_go, third, reads = threading.Event(), threading.Event(), []

    def read():
        reads.append(1)
        if len(reads) == 3:
            third.set()
        if len(reads) != 2:
            let_go.wait(30)
        return len(reads)

    shared = shared_read(read, patience=(0.01, 0.01))

    def look():
        return asyncio.run(shared.wait_in_loop()) if in_loop else shared.wait()

    assert look() == "late: None"
    let_go.set()
    while look() == "late: None":
        pass
    assert look() == 1
    now[0] = 5.0
    while look() == "late: 1":
        pass
    assert look() == 2
    let_go.clear()
    now[0] = 60.0
    assert [look() for _ in range(3)] == ["late: 2"] * 3
    assert third.wait(30)
    assert [look() for _ in range(3)] == ["late: 2"] * 3
    assert len(reads) == 3
    let_go.set()
    while look() == "late: 2":
        pass
    assert (look(), len(reads)) == (3, 3)


def test_a_viewer_that_disconnects_cancels_nothing():
    entered, let_go = threading.Event(), threading.Event()

    def slow():
        entered.set()
        let_go.wait(30)
        return "read"

    shared = shared_read(slow)
    blocker = threading.Event()
    # The thread of the reads is still busy, so the read that the viewer asked for has not begun and could be cancelled.
    shared._pool = ThreadPoolExecutor(max_workers=1)
    shared._pool.submit(blocker.wait, 30)

    async def look():
        gone, stays = (asyncio.ensure_future(shared.wait_in_loop()) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        blocker.set()
        let_go.set()
        return await stays

    assert asyncio.run(look()) == "read"


def test_a_failed_read_is_repeated_when_the_next_is_due(now):
    answers = iter([ValueError("once"), "well"])

    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = shared_read(read)
    for _ in range(2):
        with pytest.raises(ValueError, match="once"):
            shared.wait()
    now[0] = 5.0
    assert shared.wait() == "well"


def test_a_store_that_is_down_is_called_once_and_is_a_problem_of_every_address():
    aws = Aws()
    aws.fails["GetItem"] = ConnectTimeoutError(endpoint_url="https://dynamodb")
    shown = reader(aws)()
    assert aws.calls["GetItem"] == 1
    assert all("ConnectTimeoutError" in found.problem for found in shown.readings)
    assert all(found.address.public_ip == "203.0.113.7" for found in shown.readings), "EC2's answer is still there"


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "not JSON"), (json.dumps({"schema": 99}), "newer version"), (json.dumps({"schema": 1}), "issued")],
    ids=["corrupt", "newer", "incomplete"],
)
def test_an_unreadable_record_shows_the_reason_and_the_others_are_shown(text, says):
    bad, good, missing = reader(Aws({ALLOCATION: text, SECOND: to_text(FREE)}))().readings
    assert bad.record is None
    assert says in bad.problem
    assert good.record == FREE
    assert (missing.is_written, missing.problem) == (False, None)


def test_a_missing_permission_is_named():
    aws = Aws()
    aws.fails["GetItem"] = denied()
    assert "dynamodb:GetItem" in reader(aws)().readings[0].problem


def test_an_error_of_ec2_does_not_affect_the_records():
    aws = Aws()
    aws.fails["DescribeAddresses"] = denied("DescribeAddresses")
    shown = reader(aws)()
    assert "ec2:DescribeAddresses" in shown.readings[0].address_problem
    assert shown.readings[0].record == BUSY


def test_without_names_the_store_lists_the_addresses_rarely():
    aws = Aws()
    read = reader(aws, names=())
    for _ in range(3):
        assert [found.allocation_id for found in read().readings] == [ALLOCATION, SECOND]
    assert aws.calls["Scan"] == 1


def test_a_store_that_must_not_be_listed_shows_the_remedy():
    aws = Aws()
    aws.fails["Scan"] = denied("Scan")
    (problem,) = reader(aws, names=())().problems
    assert "dynamodb:Scan" in problem
    assert "page_addresses" in problem


def test_an_empty_store_is_reported():
    assert "no record yet" in reader(Aws({}), names=())().problems[0]


def test_without_a_store_the_answer_of_ec2_is_shown():
    aws = Aws()
    shown = reader(aws, lock_store=None, names=())()
    assert shown.problems == (NO_STORE,)
    assert [found.address.allocation_id for found in shown.readings] == list(NAMES)
    assert aws.calls["GetItem"] == 0
    assert [found.allocation_id for found in reader(aws, lock_store=None)().readings] == list(NAMES)


def test_wrong_options_are_a_problem_on_the_page():
    def source():
        raise InvalidInputError("reading [eip] page_addresses", problem="'x' is no allocation ID", remedy="correct it")

    shown = SnapshotReader(source, refresh_seconds=5.0)()
    assert (shown.readings, len(shown.problems)) == ((), 1)
    assert "'x' is no allocation ID" in shown.problems[0]


def test_the_details_of_an_unexpected_error_are_only_logged(caplog):
    aws = Aws()
    aws.fails["GetItem"] = RuntimeError("password=secret")
    problem = reader(aws)().readings[0].problem
    assert "RuntimeError" in problem
    assert "secret" not in problem
    assert "secret" in caplog.text


def test_waits_start_with_the_task_and_are_queried_once():
    asked = []
    last = BUSY.history[-1]
    held = BUSY.lease

    def read_starts(tasks):
        asked.append(set(tasks))
        return {
            task(held.attempt.name): held.acquired_at - 600,
            task(last.owner): last.acquired_at + 60,  # a later try of the same task
        }

    read = reader(Aws(), names=(ALLOCATION,), read_starts=read_starts)
    assert read().readings[0].waits == {held.token: 600}
    assert read().readings[0].waits == {held.token: 600}
    assert len(asked) == 1
    assert task(held.attempt.name) in asked[0]


def test_only_tasks_of_this_environment_are_queried():
    asked = []
    elsewhere = owner("daily", 3, "staging")
    text = to_text(FREE).replace(FREE.history[-1].owner, elsewhere)
    read = reader(Aws({ALLOCATION: text}), names=(ALLOCATION,), read_starts=lambda tasks: asked.append(tasks) or {})
    assert read().readings[0].waits == {}
    assert {found.environment for found in asked[0]} == {"prod"}


def test_a_database_error_only_hides_the_waits():
    def read_starts(tasks):
        raise RuntimeError("no database")

    shown = reader(Aws(), read_starts=read_starts)().readings[0]
    assert (shown.waits, shown.record) == ({}, BUSY)


def test_only_keys_below_the_prefix_of_a_bucket_are_listed():
    class S3:
        def get_paginator(self, operation):
            assert operation == "list_objects_v2"
            return self

        def paginate(self, *, Bucket, Prefix):  # noqa: N803 - AWS's names
            assert (Bucket, Prefix) == ("bucket", "team/eip/")
            yield {"Contents": [{"Key": f"team/eip/{SECOND}.json"}, {"Key": "team/eip/notes.txt"}]}
            yield {}
            yield {"Contents": [{"Key": f"team/eip/{ALLOCATION}.json"}]}

    assert list_addresses("s3://bucket/team/eip", lambda service, region: S3()) == [ALLOCATION, SECOND]


def test_the_time_of_a_read_is_its_start():
    moments = []
    shared = shared_read(lambda: moments.append(time.monotonic()), seconds=60.0)
    shared.wait()
    shared.wait()
    assert len(moments) == 1


def test_a_lock_store_that_no_task_has_created_yet_is_an_empty_one():
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Scan")
    aws = Aws()
    aws.fails = {"Scan": missing, "GetItem": missing}
    shown = reader(aws, names=(), lock_store=f"{STORE}?create=true")()
    assert shown.problems == (
        "The lock store has no record yet. An address appears here after a task has asked for it.",
    )
    (named, *_) = reader(aws, lock_store=f"{STORE}?create=true")().readings
    assert (named.problem, named.is_written) == (None, False)
    assert "does not exist in region 'eu-west-1'" in reader(aws, names=())().problems[0]
