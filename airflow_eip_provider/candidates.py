"""
The candidates of a launch: the first choice and its fallbacks, in the order in which they are tried.

A fallback is a JSON merge patch (RFC 7396) of the first choice: mappings are merged key by key, ``None`` removes a key,
and any other value, including a list, replaces one. In addition to RunJobFlow's parameters, it may have the key
``binding``.
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
# Each candidate may take a whole start_timeout, so more of them are probably a mistake.
MOST_CANDIDATES = 50


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    A cluster that may be launched.

    :param number: its place in the order, from 0; further rounds continue counting.
    :param job_flow: the parameters of RunJobFlow, without the tags and the idle timeout that are added.
    :param binding_override: replaces the ``binding`` of the operator, unless it is ``None``.
    """

    number: int
    job_flow: Mapping[str, Any]
    binding_override: object | None = None


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7396) to a copy of the target."""
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
    Return the candidates in order: the first choice, its fallbacks, and all of them again for each further round.

    :param job_flow: the first choice, merged with the extra of the EMR connection.
    :param fallbacks: each is a partial override of the first choice, not of another fallback.
    :param rounds: how often the whole list is tried.
    :raises InvalidInputError: if one of these is not valid.
    """
    _check(fallbacks, rounds)
    choices: list[tuple[Mapping[str, Any], object | None]] = [(job_flow, None)]
    for fallback in fallbacks:
        patch = {key: value for key, value in fallback.items() if key != BINDING_KEY}
        choices.append((merge_patch(job_flow, patch), fallback.get(BINDING_KEY)))
    return tuple(Candidate(number, *choice) for number, choice in enumerate(choices * rounds))


def _check(fallbacks: object, rounds: object) -> None:
    if isinstance(fallbacks, str) or not isinstance(fallbacks, (list, tuple)):
        raise _wrong(
            f"fallbacks {fallbacks!r}", "it is not a list", 'give [{"Instances": {"Ec2SubnetId": "subnet-…"}}]'
        )
    for place, fallback in enumerate(fallbacks):
        if not isinstance(fallback, Mapping) or not fallback:
            raise _wrong(
                f"fallbacks[{place}] {fallback!r}",
                "it is not a mapping, or it is empty",
                "give the parameters of RunJobFlow that differ from the first choice",
            )
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise _wrong(
            f"fallback_rounds {rounds!r}", "it is not a whole number above 0", "give 1, or more for more rounds"
        )
    if (1 + len(fallbacks)) * rounds > MOST_CANDIDATES:
        raise _wrong(
            f"fallback_rounds {rounds} and {len(fallbacks)} fallbacks",
            f"together they are more than {MOST_CANDIDATES} launches",
            "reduce one of them",
        )


def _wrong(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)
