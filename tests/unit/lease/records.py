"""Any record that the model can express."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

import tests.profiles  # noqa: F401 - it registers them
from airflow_eip_provider.lease.record import Attempt, EndedLease, Entry, Lease, Phase, PossibleOrphan, Record

_PLAIN = {
    bool: st.booleans(),
    int: st.integers(0, 2**40),
    float: st.floats(0, 2**40, allow_nan=False),
    str: st.text(max_size=12),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return every value of a type that the model uses."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind) if field.init})
    if get_origin(kind) is Union:
        return st.none() | values(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return _PLAIN[kind]


records = values(Record)

ATTEMPT = Attempt(owner="a1b2", name="dag.task", try_number=2, nonce="n")
FULL = Record(
    issued=4,
    lease=Lease(2, ATTEMPT, Phase.ACTIVE, 10.5, 11.0, 20.0, "daily", resource_id="j-1", moved_from="j-0"),
    free_since=9.0,
    queue=(Entry(4, ATTEMPT, 12.0, "other", 600.0, prewarmed_at=13.0, resource_id="j-2", passed=1),),
    possible_orphans=(PossibleOrphan(1, "0af1", "daily", keep="j-0", until=100.0),),
    history=(EndedLease(1, "dag.task", "j-0", 1.0, 9.0, "released"),),
    grace=90.0,
)
