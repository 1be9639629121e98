"""
The candidates of a launch: the first choice and its fallbacks, each a whole job flow, in the order of their trial.

A fallback is a JSON merge patch (RFC 7396) over the first choice: a mapping is merged key by key, ``None`` removes, and
anything else, a list too, replaces. Besides RunJobFlow's parameters it may have the key ``binding``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

# No parameter of RunJobFlow has this name (EMR API Reference, RunJobFlow).
BINDING_KEY = "binding"
# Each candidate may take a start_timeout; more of them are a mistake.
MOST_CANDIDATES = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    One way to launch the cluster.

    :param number: its place in the order of the trial, from 0; further rounds go on counting.
    :param job_flow: what RunJobFlow is to be sent, before tags and the idle timeout are added.
    :param binding_override: replaces the operator's ``binding``; ``None`` keeps that.
    """

    number: int
    job_flow: Mapping[str, Any]
    binding_override: object | None = None


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the target as a JSON merge patch (RFC 7396) changes it; neither of both is changed."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            before = merged.get(key)
            merged[key] = merge_patch(before if isinstance(before, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def candidates_of(
    job_flow: Mapping[str, Any], fallbacks: Sequence[Mapping[str, Any]] = (), rounds: int = 1
) -> tuple[Candidate, ...]:
    """
    Return every candidate in the order of the trial: the first choice, its fallbacks, and all again for each round.

    :param job_flow: the first choice, as merged with the EMR connection's extra.
    :param fallbacks: partial overrides over it, not over each other.
    :param rounds: how often the whole list is gone through.
    :raises InvalidInputError: when one of these has the wrong form.
    """
    _check(fallbacks, rounds)
    listed: list[tuple[Mapping[str, Any], object | None]] = [(job_flow, None)]
    for fallback in fallbacks:
        patch = {key: value for key, value in fallback.items() if key != BINDING_KEY}
        listed.append((merge_patch(job_flow, patch), fallback.get(BINDING_KEY)))
    return tuple(Candidate(number, *one) for number, one in enumerate(listed * rounds))


def _check(fallbacks: object, rounds: object) -> None:
    if isinstance(fallbacks, str) or not isinstance(fallbacks, (list, tuple)):
        raise _wrong(f"fallbacks {fallbacks!r}", "it is no list", 'give [{"Instances": {"Ec2SubnetId": "subnet-…"}}]')
    for place, fallback in enumerate(fallbacks):
        if not isinstance(fallback, Mapping) or not fallback:
            raise _wrong(
                f"fallbacks[{place}] {fallback!r}",
                "it is no mapping that changes anything",
                "give a part of RunJobFlow's parameters that replaces the one of the first choice",
            )
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise _wrong(f"fallback_rounds {rounds!r}", "it is no whole number above 0", "give 1, or more for more rounds")
    if (1 + len(fallbacks)) * rounds > MOST_CANDIDATES:
        raise _wrong(
            f"fallback_rounds {rounds} and {len(fallbacks)} fallbacks",
            f"together they are more than {MOST_CANDIDATES} launches",
            "give fewer",
        )


def _wrong(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)
