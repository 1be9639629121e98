"""What a pool adds to the calls of one address; docs/how-to/several-addresses.md has these numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.life import Task
from tests.integration.operators.aws_state import run_queued

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
READS, WRITES, ADDRESSES = "GetItem", "PutItem", "DescribeAddresses"


@pytest.fixture
def counted(clocked: Any) -> Callable[[], dict[str, int]]:
    """Return a function that returns how many calls were made since it was last called."""
    seen = dict.fromkeys((READS, WRITES, ADDRESSES), 0)

    def count() -> dict[str, int]:
        now = {name: len(clocked.events.calls(name)) for name in seen}
        new = {name: now[name] - seen[name] for name in seen}
        seen.update(now)
        return new

    return count


@pytest.fixture
def end(lock_store: str, terminate_operator: Any) -> Callable[[Task], None]:
    """Let the lease of a creating task end."""

    def run(task: Task) -> None:
        operator = terminate_operator(
            task.result, allocation_id=task.ti.xcoms["static_ip"]["allocation_id"], lock_store=lock_store
        )
        Task(operator, dag_id="teardown").run()

    return run


@pytest.fixture
def bound(leased: Any, queue: Any) -> Callable[[str, str], Task]:
    """Let a task have an address."""

    def run(dag_id: str, allocation_id: str) -> Task:
        task: Task = leased(dag_id, allocation_id=allocation_id)
        run_queued(queue, task)
        return task

    return run


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_free_address_of_a_pool_takes_more_reads_and_the_same_writes(
    clocked, leased, queue, bound, end, counted, ec2, size
):
    pool = sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(size))
    end(bound("before", pool[0]))  # creates the table
    clocked.clock.advance(600)
    counted()
    task = leased("daily", allocation_id=pool if size > 1 else pool[0])
    run_queued(queue, task)
    several = size > 1
    assert counted() == {
        READS: 2 * size + 2 if several else 2,
        WRITES: 2,
        ADDRESSES: 5 if several else 2,
    }


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_queues_of_a_pool_take_two_writes_for_each_further_address(
    clocked, leased, queue, bound, end, counted, ec2, size
):
    pool = sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(size))
    holders = [bound(f"holder{number}", name) for number, name in enumerate(pool)]
    clocked.clock.advance(600)
    counted()
    task = leased("daily", allocation_id=pool if size > 1 else pool[0], prewarm=False)
    task.start()
    assert counted()[WRITES] == size, "it joins every queue"
    end(holders[-1])
    counted()
    queue.until(lambda: task.ended, task)
    assert counted()[WRITES] == 1 + (size - 1) + 1, "acquired, the other queues left, handed over"
