"""
The page of AWS calls says which calls the chain create → steps → terminate makes, in which phase, and how many.

It is checked against the local EMR's event log, with and without a lock store, in a worker and deferred: a call that
the page does not list, or lists in vain, fails here, and so does a chain that makes more calls than it may.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.triggers.emr import EmrClusterTrigger, EmrFencedStepsTrigger
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).resolve().parents[3] / "docs" / "calls.md"
DYNAMODB = "dynamodb://leases?create=true"
STORES = {"none": None, "dynamodb": DYNAMODB}
COLUMNS = {None: 0, DYNAMODB: 1}
MOST_CALLS = {None: 34, DYNAMODB: 40}  # of the whole chain, with polls every BOUND_SECONDS
BOUND_SECONDS = 60

BEFORE, LAUNCH, BIND = "create: before the launch", "create: launch", "create: bind"
SUBMIT, STEPS_END, FREE = "steps: submit", "steps: end", "terminate: free"
LOOKS = {"primary_running": "create: a look", "steps": "steps: a look", "cluster_ended": "terminate: a look"}

Calls = Counter[tuple[str, str]]


@dataclass(slots=True)
class Chain:
    """
    What one chain has called.

    :param spans: the numbers of the events before and at the end of each phase or look, and its name.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def of(self, number: int) -> int | None:
        """Return the place of the span that an event belongs to."""
        return next((n for n, (before, last, _) in enumerate(self.spans) if before < number <= last), None)

    @property
    def by_span(self) -> list[tuple[str, Counter[str]]]:
        """The calls of each phase and each poll, in order."""
        found: list[tuple[str, Counter[str]]] = [(name, Counter()) for *_, name in self.spans]
        for event in self.events:
            place = self.of(event["seq"])
            assert place is not None, f"{event['operation']} is made in no phase and in no look"
            found[place][1][operation(event)] += 1
        return found

    @property
    def phases(self) -> Calls:
        """The calls of the phases, which do not depend on the number of polls."""
        counted = ((name, calls) for name, calls in self.by_span if name not in LOOKS.values())
        return Counter({(name, call): number for name, calls in counted for call, number in calls.items()})

    @property
    def looks(self) -> Calls:
        """The largest number of calls of each kind in one poll."""
        most: Calls = Counter()
        for name, calls in self.by_span:
            if name in LOOKS.values():
                most |= Counter({(name, call): number for call, number in calls.items()})
        return most


def operation(event: dict[str, Any]) -> str:
    """Name a call as the page does."""
    is_dry = str(event["request"].get("DryRun", "false")).lower() == "true"
    return f"{event['operation']}{' (DryRun)' if is_dry else ''}"


@pytest.fixture
def run(
    clocked: Any,
    boto: Any,
    monkeypatch: pytest.MonkeyPatch,
    create_operator: Any,
    steps_operator: Any,
    terminate_operator: Any,
    step: Any,
) -> Callable[..., Chain]:
    """Run the chain, with a step of half a minute."""
    chain = Chain()

    def noted(cls: type, method: str, name: Callable[..., str]) -> None:
        real = getattr(cls, method)

        def called(self: Any, *args: Any, **options: Any) -> Any:
            before = clocked.events.last
            try:
                return real(self, *args, **options)
            finally:
                chain.spans.append((before, clocked.events.last, name(self, *args)))

        monkeypatch.setattr(cls, method, called)

    create, steps, terminate = (
        EmrCreateWithStaticIpOperator,
        EmrAddStepsWithStaticIpOperator,
        EmrTerminateWithStaticIpOperator,
    )
    noted(create, "begin", lambda *_: BEFORE)
    noted(create, "advance", lambda _operator, _context, _state, event: LAUNCH if event is None else BIND)
    noted(steps, "begin", lambda *_: SUBMIT)
    noted(steps, "advance", lambda *_: STEPS_END)
    noted(terminate, "begin", lambda *_: FREE)
    noted(terminate, "advance", lambda *_: FREE)
    noted(EmrClusterTrigger, "judge", lambda trigger, _: LOOKS[trigger.target])
    noted(EmrFencedStepsTrigger, "judge", lambda *_: LOOKS["steps"])

    def live(*, store: str | None, deferrable: bool, seconds: int) -> Chain:
        monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
        if store is not None:  # the first owner creates the table; this is a later one
            open_store(store, lambda *_: boto("dynamodb")).check()
        before = clocked.events.last
        common = {"lock_store": store, "deferrable": deferrable, "waiter_delay": seconds}
        job_flow_id = Task(create_operator(**common)).run()
        Task(steps_operator(job_flow_id, steps=[step("--sleep", "30")], **common)).run()
        Task(terminate_operator(job_flow_id, **common)).run()
        chain.events = clocked.events.read(after=before, kind="call")
        return chain

    return live


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def listed(store: str | None) -> Calls:
    """Return the calls that the page lists for each phase and for one poll."""
    counts: Calls = Counter()
    for phase, call, *numbers, why in rows("Calls by phase"):
        name = re.fullmatch(r"`(?:\w+:)?(\w+)`( \(DryRun\))?", call)
        assert name, call
        assert why, f"say why {phase} calls {call}"
        counts[phase, name[1] + (name[2] or "")] += int(numbers[COLUMNS[store]] or 0)
    return +counts


def totals(store: str | None) -> dict[int, int]:
    """Return how many calls the page says the chain makes, by the seconds between two polls."""
    return {int(seconds): int(numbers[COLUMNS[store]]) for seconds, *numbers in rows("The whole chain")}


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_the_chain_makes_the_calls_on_the_page_and_no_others_and_not_too_many(run, store, deferrable):
    chain = run(store=store, deferrable=deferrable, seconds=BOUND_SECONDS)
    page = listed(store)
    assert chain.phases == Counter({key: n for key, n in page.items() if key[0] not in LOOKS.values()})
    assert chain.looks <= page, "no look makes a call that is not listed"
    assert len(chain.events) == totals(store)[BOUND_SECONDS]
    assert len(chain.events) <= MOST_CALLS[store]


@pytest.mark.parametrize("seconds", [15, 30])
@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_more_looks_cost_only_the_calls_of_a_look(run, store, seconds):
    chain = run(store=store, deferrable=True, seconds=seconds)
    page = listed(store)
    assert chain.phases == Counter({key: n for key, n in page.items() if key[0] not in LOOKS.values()})
    assert chain.looks == Counter({key: n for key, n in page.items() if key[0] in LOOKS.values()})
    assert len(chain.events) == totals(store)[seconds]
