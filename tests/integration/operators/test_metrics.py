"""The metrics that tasks and triggers send about a lease; each is sent once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from airflow_eip_provider import metrics
from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.triggers.observed import Observed
from harness.leases import vanish
from harness.life import Task
from tests.integration.operators.aws_state import dynamodb_only, free_address, run_queued

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow_eip_provider.metrics import Metric


class Sent(list[tuple[str, float, dict[str, str]]]):
    """A metrics backend that keeps names, values (timings in seconds) and tags."""

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.append((name, value, tags))

    def timing(self, name: str, took: timedelta, *, tags: dict[str, str]) -> None:
        self.append((name, took.total_seconds(), tags))

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self.append((name, count, tags))

    def values(self, metric: Metric, **tags: str) -> list[float]:
        return [value for name, value, given in self if name == metric.name and tags.items() <= given.items()]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    sent = Sent()
    monkeypatch.setattr(metrics, "statistics", lambda: sent)
    return sent


@dynamodb_only
def test_a_whole_run_sends_each_duration_once_with_its_tags(
    clocked, sent, lock_store, create_operator, steps_operator, terminate_operator, step, allocation_id, deferrable
):
    common = {"lock_store": lock_store, "deferrable": deferrable}
    job_flow_id = Task(create_operator(**common)).run()
    Task(steps_operator(job_flow_id, steps=[step("--sleep", "60")], **common)).run()
    Task(terminate_operator(job_flow_id, **common)).run()
    timings = [metric for metric in metrics.METRICS if metric.kind == "timing"]
    tags = {"allocation_id": allocation_id, "environment": "testing", "dag_id": "azure_daily"}
    assert {metric.name: len(sent.values(metric, **tags)) for metric in timings} == {m.name: 1 for m in timings}
    assert {name for name, *_ in sent} == {metric.name for metric in timings}, "nothing was lost, and nobody waited"
    [queue], [lease], [start], [bind], [steps] = (
        sent.values(metric)
        for metric in (
            metrics.QUEUE_SECONDS,
            metrics.LEASE_SECONDS,
            metrics.START_SECONDS,
            metrics.BIND_SECONDS,
            metrics.STEP_SECONDS,
        )
    )
    assert queue < 5
    assert 60 <= steps < 60 + start + 30, "the step waits for the start, and is looked at every 15 s"
    assert 0 < bind < start < lease


def test_without_a_lock_store_the_wait_for_the_address_is_the_queue(clocked, sent, occupied, create_operator):
    waits = Task(create_operator(lock_store=None, deferrable=True))
    waits.start()
    clocked.clock.advance(300)
    occupied()
    waits.go_on()
    assert waits.error is None
    [queue] = sent.values(metrics.QUEUE_SECONDS)
    assert 300 <= queue < 400
    assert sent.values(metrics.BIND_SECONDS)
    assert sent.values(metrics.LEASE_SECONDS) == []


@dynamodb_only
def test_the_queue_is_measured_by_tasks_and_triggerer_and_its_length_falls_again(clocked, sent, leased, queue, ended):
    holder, second, third = leased("holder"), leased("second", prewarm=False), leased("third", prewarm=False)
    held = holder.run()
    second.start()
    third.start()
    assert sent.values(metrics.QUEUE_LENGTH) == [1, 2]
    queue.tick(second, third)
    assert sent.values(metrics.QUEUE_LENGTH) == [1, 2, 2, 2], "each trigger has looked by itself here"
    assert all("dag_id" not in tags for name, _, tags in sent if name == metrics.QUEUE_LENGTH.name)
    queue.pass_time(600, second, third)
    ended(held)
    queue.until(lambda: second.ended, second, third)
    assert sent.values(metrics.QUEUE_LENGTH)[-1] == 1
    [waited] = sent.values(metrics.QUEUE_SECONDS, dag_id="second")
    assert 600 <= waited < 1000
    assert sent.values(metrics.QUEUE_SECONDS, dag_id="third") == []
    [lease] = sent.values(metrics.LEASE_SECONDS)
    assert lease >= 600
    ended(second.result)
    queue.until(lambda: third.ended, third)
    assert sent.values(metrics.QUEUE_LENGTH)[-1] == 0
    assert len(sent.values(metrics.QUEUE_SECONDS, dag_id="third")) == 1


@dynamodb_only
def test_of_many_who_wait_in_one_triggerer_one_sends_the_length_at_a_look(sent, leased, boto):
    leased("holder").run()
    waits = [leased(f"waits-{n}", prewarm=False) for n in range(3)]
    for task in waits:
        task.start()
    del sent[:]
    observed = Observed(lambda service, _: boto(service))  # as the poller gives it to all that are due
    for task in waits:
        task.trigger().judge(observed)
    assert sent.values(metrics.QUEUE_LENGTH) == [3]


@dynamodb_only
def test_a_retry_that_continues_with_the_lease_does_not_measure_the_queue_again(clocked, sent, leased, monkeypatch):
    first = leased("daily")
    vanish(monkeypatch, first, "launch", after=True)
    assert len(sent.values(metrics.QUEUE_SECONDS)) == 1
    clocked.clock.advance(60)
    leased("daily", try_number=2).run()
    assert len(sent.values(metrics.QUEUE_SECONDS)) == 1
    assert len(sent.values(metrics.BIND_SECONDS)) == 1
    assert sent.values(metrics.ORPHANS_TERMINATED) == [], "it went on with the cluster of the try before"


@dynamodb_only
def test_a_retry_in_the_queue_counts_from_the_arrival_of_the_first_try(clocked, sent, leased, queue, ended):
    held = leased("holder").run()
    first = leased("daily", prewarm=False)
    first.start()
    queue.pass_time(600, first)
    first.deferral = None  # its process and its trigger have ended
    second = leased("daily", try_number=2, prewarm=False)
    second.start()
    queue.pass_time(300, second)
    ended(held)
    queue.until(lambda: second.ended, second)
    [waited] = sent.values(metrics.QUEUE_SECONDS, dag_id="daily")
    assert 900 <= waited < 1300


@dynamodb_only
def test_an_orphan_is_counted_by_the_owner_that_terminates_it(clocked, sent, leased, queue, allocation_id, monkeypatch):
    crashed = leased("crashed", waiter_max_attempts=40)
    vanish(monkeypatch, crashed, "launch", after=True)  # and no retry comes
    takes_over = leased("next")
    run_queued(queue, takes_over)
    assert takes_over.error is None
    assert sent.values(metrics.ORPHANS_TERMINATED, allocation_id=allocation_id, dag_id="next") == [1]
    assert len(sent.values(metrics.LEASE_SECONDS, dag_id="crashed")) == 1


def test_a_thief_is_counted_as_a_loss(clocked, sent, ec2, create_operator, steps_operator, step, allocation_id):
    job_flow_id = Task(create_operator(lock_store=None, deferrable=True)).run()
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "3600")], lock_store=None, deferrable=True))
    task.start()
    clocked.clock.advance(READS_LAG_SECONDS + 1)
    free_address(ec2)
    task.go_on()
    assert isinstance(task.error, AirflowFailException)
    assert sent.values(metrics.LOST, dag_id="azure_daily", allocation_id=allocation_id) == [1]


def test_a_metric_that_cannot_be_sent_fails_nothing_and_is_logged(clocked, create_operator, monkeypatch, logged):
    def broken() -> Any:
        raise OSError("no route to the statistics")

    monkeypatch.setattr(metrics, "statistics", broken)
    assert Task(create_operator(lock_store=None, deferrable=True)).run().startswith("j-")
    assert "Metric eip.bind.seconds could not be sent" in logged()


def test_without_a_context_there_is_no_dag(sent):
    metrics.send(metrics.ORPHANS_TERMINATED, allocation_id="eipalloc-1")
    assert sent == [("eip.orphans.terminated", 1, {"allocation_id": "eipalloc-1", "environment": "testing"})]


def test_tags_have_no_character_that_a_line_of_statsd_gives_a_meaning(sent, monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "pro,d=x y")
    metrics.send(metrics.LOST, allocation_id="eipalloc-1", dag_id="a:b|c\n")
    assert sent[0][2] == {"allocation_id": "eipalloc-1", "environment": "pro_d_x_y", "dag_id": "a_b_c_"}


@dynamodb_only
def test_a_phase_that_is_repeated_without_an_answer_measures_once(clocked, sent, leased, monkeypatch):
    launch, calls = StoreLeaseClient.launch, []

    def answers_late(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise EndpointConnectionError(endpoint_url="EMR")
        return launch(*args, **options)

    monkeypatch.setattr(StoreLeaseClient, "launch", answers_late)
    leased("daily").run()
    assert len(calls) == 2
    assert len(sent.values(metrics.QUEUE_SECONDS)) == 1
