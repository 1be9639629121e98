"""The checks of the scenario with a zone without capacity; each fails if nothing was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.checks import Check, checked
from demo.zones import DAG
from harness.judge import two_clusters_of_a_lease

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.zones import Tried, Zones
    from harness.judge import Event

_CANDIDATES = 2


def moved_to_the_other_zone(found: Sequence[Tried], *, zones: Zones, state: str, tries: int) -> Check:
    """Check that the first cluster never had the address, and that the second had it in the other zone, in one try."""
    name = f"{DAG}: bound in the zone of the fallback, in one try"
    run = (
        (state != "success", f"the DAG run is {state or 'not seen'}"),
        (tries != 1, f"tries: {tries}"),
        (len(found) != _CANDIDATES, f"{len(found)} clusters"),
    )
    if len(found) != _CANDIDATES:
        return checked(name, "", *run)
    first, last = found
    ended, bound = first.session.terminated, last.session.bound
    seconds = f"{(bound.time - ended.time).total_seconds():.0f} s" if bound and ended else ""
    return checked(
        name,
        f"{first.zone} → {last.zone}; {seconds} from the end of the first to the bind (simulated)",
        *run,
        (first.zone != zones.empty[0], "the first was not in the empty zone"),
        (first.session.bound, "the first had the address"),
        (not ended, "the first did not end"),
        (last.zone != zones.other[0], "the second was not in the other zone"),
        (not (bound and last.session.step_ended), "the second was not bound and used"),
    )


def same_lease(found: Sequence[Tried]) -> Check:
    """Check the clusters' tags: all candidates were launched under one fencing token, each with its number."""
    tokens = {tried.token for tried in found}
    numbers = [tried.candidate for tried in found]
    passed = len(found) == _CANDIDATES and len(tokens) == 1 and None not in tokens and numbers == ["0", "1"]
    detail = f"tokens {', '.join(sorted(str(token) for token in tokens)) or 'none'}; candidates {numbers}"
    return Check(name=f"{DAG}: both candidates under one lease", passed=passed, detail=detail)


def one_cluster_at_a_time(events: Sequence[Event], found: Sequence[Tried]) -> Check:
    """Check that the second cluster was launched after the end of the first."""
    clusters = {tried.session.job_flow_id for tried in found}
    of_clusters = [event for event in events if event["kind"] == "call" or event.get("job_flow_id") in clusters]
    return checked(
        f"{DAG}: never two live clusters of the lease",
        f"{len(found)}, one after the other",
        *((True, problem) for problem in two_clusters_of_a_lease(of_clusters)),
        (len(found) < _CANDIDATES, f"{len(found)} clusters: nothing to compare"),
    )
