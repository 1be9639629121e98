"""Whatever happens in whatever order, the law holds."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

import tests.hypothesis_profiles  # noqa: F401 - it registers them
from airflow_eip_provider.lease.codec import decode, encode
from airflow_eip_provider.lease.record import Attempt, Limits, Record
from airflow_eip_provider.lease.transitions import (
    Acquire,
    Activate,
    Leave,
    Move,
    MoveBack,
    Prewarm,
    Prewarmed,
    Queue,
    Reenter,
    Refused,
    Release,
    StartRelease,
    step,
)
from tests.unit.lease.law import Ledger

LIMITS = Limits(grace=60, surface=300, history=3)

attempts = st.builds(Attempt, st.sampled_from("abc"), st.just("dag.task"), st.integers(1, 2), st.sampled_from("xy"))
tokens = st.integers(0, 6)
resource_ids = st.sampled_from(("j-1", "j-2"))
events = st.one_of(
    st.builds(Acquire, attempts, st.just("daily"), st.just(600.0)),
    st.builds(Queue, attempts, st.just("daily"), st.just(600.0)),
    st.builds(Reenter, attempts),
    st.builds(Prewarm, attempts, st.integers(1, 2)),
    st.builds(Prewarmed, attempts, resource_ids),
    st.builds(Activate, attempts, tokens, resource_ids),
    st.builds(Move, attempts, tokens, resource_ids, st.sampled_from(("", "daily")), st.just(600.0)),
    st.builds(MoveBack, attempts, tokens),
    st.builds(StartRelease, tokens, st.booleans()),
    st.builds(Release, tokens, st.none() | resource_ids, st.just("done"), st.booleans()),
    st.builds(Leave, attempts),
)
lives = st.lists(st.tuples(events, st.sampled_from((0.0, 1.0, 60.0, 400.0))), max_size=40)


@settings(max_examples=300, deadline=None)
@given(lives)
def test_no_life_breaks_the_law(life):
    record, now, ledger = Record(), 1000.0, Ledger()
    for event, passes in life:
        now += passes
        after = step(record, event, now, LIMITS)
        if isinstance(after, Refused):
            continue
        ledger.enter(record, after)
        assert step(after, event, now, LIMITS) == after, "each event is idempotent"
        record = after
    stored = json.loads(json.dumps(encode(record)))
    assert encode(decode(stored, where="")) == stored


@settings(max_examples=300, deadline=None)
@given(lives, events, st.floats(0, 10_000))
def test_a_lost_answer_is_resolved_at_any_later_time(life, event, passes):
    """Reenter is the one event that says something new each time: that the owner goes on now."""
    record, now = Record(), 1000.0
    for earlier, wait in life:
        now += wait
        changed = step(record, earlier, now, LIMITS)
        record = record if isinstance(changed, Refused) else changed
    after = step(record, event, now, LIMITS)
    if isinstance(after, Refused) or isinstance(event, Reenter):
        return
    assert step(after, event, now + passes, LIMITS) == after
