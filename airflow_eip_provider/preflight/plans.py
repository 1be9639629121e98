"""Every way to launch a cluster, checked together: the first choice and its fallbacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.preflight.fallbacks import name_of
from airflow_eip_provider.preflight.finding import Check, Finding, Outcome, warning
from airflow_eip_provider.preflight.node_pools import node_pools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_eip_provider.candidates import Candidate
    from airflow_eip_provider.preflight.setup import Setup


class Examined(Protocol):
    """What a binding tells the checks."""

    @property
    def checks(self) -> Sequence[Check]:
        """What must be true for it before a launch."""

    def examined(self, setup: Setup) -> Setup:
        """Return what its checks look at."""


@dataclass(frozen=True)
class Plan:
    """One candidate, and what is checked of it."""

    setup: Setup
    checks: Sequence[Check]


def plans_of(
    setup: Setup, candidates: Sequence[Candidate], *, rounds: int, binding_of: Callable[[Candidate], Examined]
) -> list[Plan]:
    """
    Return what is to be checked for a launch: each candidate once, also when there are several rounds.

    :param setup: of the first candidate; what it reads of AWS is read for all.
    :raises InvalidInputError: when a binding's parameters are wrong; of a fallback's, with its name.
    """
    once = candidates[: len(candidates) // rounds]
    plans = []
    for candidate in once:
        name = name_of(candidate, fallbacks=len(once) - 1) if len(once) > 1 else None
        try:
            binding = binding_of(candidate)
            examined = binding.examined(replace(setup, job_flow=candidate.job_flow, candidate=name))
        except InvalidInputError as wrong:
            if candidate.number == 0:
                raise
            raise InvalidInputError(
                f"checking {name}",
                problem=str(wrong).removesuffix(f"; {wrong.remedy}"),
                remedy=wrong.remedy,
            ) from wrong
        plans.append(Plan(examined, binding.checks))
    return plans


def _spread(setups: Sequence[Setup]) -> Iterator[Finding]:
    """Tell which fallbacks cannot help against what they are meant for."""
    zones = {zone for setup in setups for zone in setup.zones}
    subnets = {subnet_id for setup in setups for subnet_id in setup.subnet_ids}
    if len(zones) == 1:
        where = f"subnet '{subnets.pop()}'" if len(subnets) == 1 else f"Availability Zone '{next(iter(zones))}'"
        yield warning(
            "fallbacks",
            what=f"every candidate is in {where}",
            why="when its zone is down none of them starts; another instance type helps only against a shortage of one",
            mend="give one fallback a subnet of another zone",
        )
    for setup in setups:
        if has_spot_primary(setup):
            yield replace(
                warning(
                    "primary node",
                    what="it is a Spot Instance",
                    why="EC2 may take it back at any time, and the cluster ends with it; after the start no fallback "
                    "follows by itself",
                    mend="use On-Demand for the primary node; core and task nodes may stay Spot Instances",
                ),
                candidate=setup.candidate,
            )


def has_spot_primary(setup: Setup) -> bool:
    """Whether the primary node may be a Spot Instance."""
    return any(pool.role == "MASTER" and pool.is_spot for pool in node_pools(setup.instances))


def _nothing(_: Setup) -> Iterator[Finding]:
    yield from ()


# It is of all candidates together; `examine_plans` makes it.
SPREAD = Check("fallbacks", "the fallbacks are in other zones, and no primary node is a Spot Instance", _nothing)


def spread_outcome(plans: Sequence[Plan]) -> Outcome:
    """Compare the candidates with each other."""
    setups = [plan.setup for plan in plans]
    templated = [setup.template_at("Instances.Ec2SubnetId", "Instances.Ec2SubnetIds") for setup in setups]
    if any(templated):
        return Outcome(SPREAD, skipped=next(filter(None, templated)))
    return Outcome(SPREAD, tuple(_spread(setups)))


def merged(named: Iterable[tuple[str, Outcome]], *, candidates: int) -> list[Outcome]:
    """
    Return one outcome for each check, in the order in which the checks first come.

    What is found of every candidate is said once of all; what is found of some, once with their names.
    """
    by_check: dict[Check, list[tuple[str, Outcome]]] = {}
    for name, outcome in named:
        by_check.setdefault(outcome.check, []).append((name, outcome))
    return [_merged(check, outcomes, candidates=candidates) for check, outcomes in by_check.items()]


def _merged(check: Check, outcomes: Sequence[tuple[str, Outcome]], *, candidates: int) -> Outcome:
    where: dict[Finding, list[str]] = {}
    skipped: dict[str, list[str]] = {}
    for name, outcome in outcomes:
        for finding in outcome.findings:
            where.setdefault(finding, []).append(name)
        if outcome.skipped:
            skipped.setdefault(outcome.skipped, []).append(name)
    findings = [replace(one, candidate=_names(names, check, candidates)) for one, names in where.items()]
    reasons = [why if len(names) == candidates else f"{', '.join(names)}: {why}" for why, names in skipped.items()]
    return Outcome(check, tuple(findings), "; ".join(reasons) or None)


def _names(names: Sequence[str], check: Check, candidates: int) -> str | None:
    if check.once:
        return None
    return "every candidate" if len(names) == candidates else ", ".join(names)
