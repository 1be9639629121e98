"""The checks of the scenario with a zone without capacity: pure functions that fail when they saw nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.checks import Check
from demo.zones import DAG
from harness.judge import two_clusters_of_a_lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.zones import Tried, Zones
    from harness.judge import Event

_CANDIDATES = 2


def moved_to_the_other_zone(found: Sequence[Tried], *, zones: Zones, state: str, tries: int) -> Check:
    """See that the first cluster never had the address, that the second had it in the other zone, in one try."""
    name = f"{DAG}: bound in the zone of the fallback, in one try"
    first, last = (found[0], found[-1]) if len(found) == _CANDIDATES else (None, None)
    problems = [
        text
        for wrong, text in (
            (state != "success", f"the DAG run is {state or 'not seen'}"),
            (tries != 1, f"tries: {tries}"),
            (first is None, f"{len(found)} clusters"),
            (first and first.zone != zones.empty[0], "the first was not in the empty zone"),
            (first and first.session.bound, "the first had the address"),
            (first and not first.session.terminated, "the first did not end"),
            (last and last.zone != zones.other[0], "the second was not in the other zone"),
            (last and not (last.session.bound and last.session.step_ended), "the second was not bound and used"),
        )
        if wrong
    ]
    return Check(name=name, passed=not problems, detail="; ".join(problems) or _moved(found))


def _moved(found: Sequence[Tried]) -> str:
    first, last = found[0].session, found[-1].session
    if first.terminated is None or last.bound is None:
        return ""
    seconds = (last.bound.time - first.terminated.time).total_seconds()
    return f"{found[0].zone} → {found[-1].zone}; {seconds:.0f} s from the end of the first to the bind (simulated)"


def same_lease(found: Sequence[Tried]) -> Check:
    """See on the clusters' tags that all candidates were launched under one fencing token, each with its number."""
    tokens = {one.token for one in found}
    numbers = [one.candidate for one in found]
    passed = len(found) == _CANDIDATES and len(tokens) == 1 and None not in tokens and numbers == ["0", "1"]
    detail = f"tokens {', '.join(sorted(str(token) for token in tokens)) or 'none'}; candidates {numbers}"
    return Check(name=f"{DAG}: both candidates under one lease", passed=passed, detail=detail)


def one_cluster_at_a_time(events: Sequence[Event], found: Sequence[Tried]) -> Check:
    """See that the second cluster was launched when the first had ended."""
    name = f"{DAG}: never two live clusters of the lease"
    mine = {one.session.job_flow_id for one in found}
    problems = two_clusters_of_a_lease(
        [event for event in events if event["kind"] == "call" or event.get("job_flow_id") in mine]
    )
    if len(found) < _CANDIDATES:
        problems.append(f"{len(found)} clusters: nothing to compare")
    return Check(name=name, passed=not problems, detail="; ".join(problems) or f"{len(found)}, one after the other")
