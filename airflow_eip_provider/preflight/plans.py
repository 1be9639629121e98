"""Checks of all candidates of a launch together: the first choice and its fallbacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.preflight.fallbacks import name_of
from airflow_eip_provider.preflight.finding import Check, Finding, Outcome, warning
from airflow_eip_provider.preflight.network import SUBNET_PLACES
from airflow_eip_provider.preflight.node_pools import node_pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_eip_provider.candidates import Candidate
    from airflow_eip_provider.preflight.setup import Setup


class Examined(Protocol):
    """A binding, as the checks see it."""

    @property
    def checks(self) -> Sequence[Check]:
        """The checks of a launch with this binding."""

    def examined(self, setup: Setup) -> Setup:
        """Return the setup that its checks read."""


@dataclass(frozen=True)
class Plan:
    """A candidate and its checks."""

    setup: Setup
    checks: Sequence[Check]


def plans_of(
    setup: Setup, candidates: Sequence[Candidate], *, rounds: int, binding_of: Callable[[Candidate], Examined]
) -> list[Plan]:
    """
    Return the checks of a launch: for each candidate once, even with several rounds.

    :param setup: of the first candidate; all candidates share what it reads from AWS.
    :raises InvalidInputError: if the parameters of a binding are wrong; the error names the fallback.
    """
    once = candidates[: len(candidates) // rounds]
    plans = []
    for candidate in once:
        name = name_of(candidate, fallbacks=len(once) - 1) if len(once) > 1 else None
        try:
            binding = binding_of(candidate)
            examined = binding.examined(replace(setup, job_flow=candidate.job_flow, candidate=name))
        except InvalidInputError as error:
            if candidate.number == 0:
                raise
            problem = str(error).removesuffix(f"; {error.remedy}")
            raise InvalidInputError(f"checking {name}", problem=problem, remedy=error.remedy) from error
        plans.append(Plan(examined, binding.checks))
    return plans


def _spread(setups: Sequence[Setup]) -> Iterator[Finding]:
    """Find fallbacks that do not help against the loss of a zone or of the primary node."""
    zones = {zone for setup in setups for zone in setup.zones}
    subnets = {subnet_id for setup in setups for subnet_id in setup.subnet_ids}
    if len(zones) == 1:
        where = f"subnet '{subnets.pop()}'" if len(subnets) == 1 else f"Availability Zone '{next(iter(zones))}'"
        yield warning(
            "fallbacks",
            what=f"every candidate is in {where}",
            why="none of them starts while that zone is unavailable; other instance types help only against shortages",
            remedy="use a subnet of another zone in one fallback",
        )
    for setup in setups:
        if has_spot_primary(setup):
            yield replace(
                warning(
                    "primary node",
                    what="it is a Spot Instance",
                    why="EC2 may interrupt it at any time, and the cluster ends with it; after the start no fallback "
                    "is launched",
                    remedy="use On-Demand for the primary node; core and task nodes may stay Spot Instances",
                ),
                candidate=setup.candidate,
            )


def has_spot_primary(setup: Setup) -> bool:
    """Whether the primary node may be a Spot Instance."""
    return any(pool.role == "MASTER" and pool.spot > 0 for pool in node_pools(setup.instances))


# It compares all candidates; `examine_plans` runs it.
SPREAD = Check(
    "fallbacks", "the fallbacks are in other zones, and no primary node is a Spot Instance", lambda _: iter(())
)


def spread_outcome(plans: Sequence[Plan]) -> Outcome:
    """Compare the candidates with each other."""
    setups = [plan.setup for plan in plans]
    templated = next(filter(None, (setup.template_at(*SUBNET_PLACES) for setup in setups)), None)
    return Outcome(SPREAD, skipped=templated) if templated else Outcome(SPREAD, tuple(_spread(setups)))


def merged(named: Iterable[tuple[str, Outcome]], *, candidates: int) -> list[Outcome]:
    """
    Return one outcome for each check, in the order in which the checks first appear.

    Equal findings of several candidates become one finding that names them.
    """
    by_check: dict[Check, list[tuple[str, Outcome]]] = {}
    for name, outcome in named:
        by_check.setdefault(outcome.check, []).append((name, outcome))
    return [_merged(check, outcomes, candidates=candidates) for check, outcomes in by_check.items()]


def _merged(check: Check, outcomes: Sequence[tuple[str, Outcome]], *, candidates: int) -> Outcome:
    found_for: dict[Finding, list[str]] = {}
    skipped: dict[str, list[str]] = {}
    for name, outcome in outcomes:
        for finding in outcome.findings:
            found_for.setdefault(finding, []).append(name)
        if outcome.skipped:
            skipped.setdefault(outcome.skipped, []).append(name)
    findings = [replace(finding, candidate=_names(names, check, candidates)) for finding, names in found_for.items()]
    reasons = [why if len(names) == candidates else f"{', '.join(names)}: {why}" for why, names in skipped.items()]
    return Outcome(check, tuple(findings), "; ".join(reasons) or None)


def _names(names: Sequence[str], check: Check, candidates: int) -> str | None:
    if check.once:
        return None
    return "every candidate" if len(names) == candidates else ", ".join(names)
