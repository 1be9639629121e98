"""Counts AWS calls by caller, which the user agents in the local EMR's event log name."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

Event = dict[str, Any]

TRIGGERER = "triggerer"

# The Amazon provider adds a UUID of the dag_id to the user agent of every call. Outside of a task, which means in the
# triggerer, it is the nil UUID (airflow/providers/amazon/aws/hooks/base_aws.py).
_DAG_KEY = re.compile(r"\bDagRunKey/([0-9a-f-]{36})")
_NIL = str(uuid.UUID(int=0))


def caller(user_agent: str, *, dag_ids: Sequence[str]) -> str | None:
    """Return the DAG whose task made a call, or the triggerer; None for another caller, e.g. a step."""
    match = _DAG_KEY.search(user_agent)
    if match is None:
        return None
    keys = {str(uuid.uuid5(uuid.NAMESPACE_OID, dag_id)): dag_id for dag_id in dag_ids}
    return TRIGGERER if match[1] == _NIL else keys.get(match[1])


def count_calls(events: Sequence[Event], *, dag_ids: Sequence[str]) -> dict[str, Counter[str]]:
    """Return the number of calls of each operation, for each DAG and for the triggerer."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in (*dag_ids, TRIGGERER)}
    for event in events:
        if event["kind"] != "call":
            continue
        name = caller(event.get("user_agent") or "", dag_ids=dag_ids)
        if name is not None:
            counts[name][f"{event['service']} {event['operation']}"] += 1
    return counts


def call_rows(counts: dict[str, Counter[str]]) -> list[tuple[str, ...]]:
    """Return a row for each operation with a column for each caller, and a last row with the sums."""
    operations = sorted({operation for counter in counts.values() for operation in counter})
    rows = [(name, *(str(counter[name] or "") for counter in counts.values())) for name in operations]
    return [*rows, ("all", *(str(counter.total()) for counter in counts.values()))]
