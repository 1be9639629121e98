"""What an operator's ``fallbacks`` may hold, before AWS is asked anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.validate import ParamValidator

from airflow_eip_provider.candidates import BINDING_KEY, Candidate, candidates_of
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import is_template, parse_literal
from airflow_eip_provider.preflight.templates import without_templates
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIRST = "job_flow_overrides"


def read_candidates(
    job_flow: Mapping[str, Any], fallbacks: object, *, shape: Any, rounds: int = 1
) -> tuple[Candidate, ...]:
    """
    Return the candidates of a launch, as :func:`airflow_eip_provider.candidates.candidates_of` does.

    What is wrong with ``job_flow`` itself is left to the checks of each candidate; a fallback must not add to it.

    :param job_flow: as merged with the EMR connection's extra.
    :param fallbacks: as the operator has them: a list, or a text of one; an entry may be a text of a mapping.
    :param shape: botocore's model of RunJobFlow's request.
    :raises InvalidInputError: naming the fallback that is wrong, such as "fallbacks[1]".
    """
    patches = parsed_fallbacks(fallbacks)
    candidates = candidates_of(job_flow, patches, rounds)
    for place, patch in enumerate(patches):
        _check_keys(place, patch, shape)
        _check_nothing_is_empty(place, patch)
        _check_shape(place, job_flow, candidates[place + 1].job_flow, shape)
    return candidates


def parsed_fallbacks(fallbacks: object) -> list[Any]:
    """
    Return fallbacks with what is the text of a list or a mapping, as a template renders to, turned into one.

    :raises InvalidInputError: when they are no list.
    """
    given = parse_literal(fallbacks)
    if is_nothing(given):
        return []
    if not isinstance(given, (list, tuple)):
        raise InvalidInputError(
            f"checking fallbacks {fallbacks!r}",
            problem=f"it is {type(given).__name__}, not a list",
            remedy='give a list of what each changes: [{"Instances": {"Ec2SubnetId": "subnet-…"}}]',
        )
    return [parse_literal(entry) for entry in given]


def name_of(candidate: Candidate, *, fallbacks: int) -> str:
    """Return how findings name a candidate; a further round repeats the names."""
    place = candidate.number % (1 + fallbacks)
    return f"fallbacks[{place - 1}]" if place else FIRST


def _check_keys(place: int, patch: Mapping[str, Any], shape: Any) -> None:
    known = {*shape.members, BINDING_KEY}
    if unknown := [key for key in patch if key not in known and not is_template(str(key))]:
        raise _wrong(
            place,
            f"unknown parameter {', '.join(map(repr, unknown))}",
            "use parameters of RunJobFlow (boto3's run_job_flow), or 'binding'",
        )


def _check_nothing_is_empty(place: int, patch: Mapping[str, Any]) -> None:
    if empty := next(_empty_places(patch), None):
        raise _wrong(
            place,
            f"{empty} is empty",
            "a template there has rendered to nothing: check the variable that it reads, or leave the fallback out",
        )


def _empty_places(value: object, path: str = "") -> Iterator[str]:
    """Find texts without anything in them; RunJobFlow has no parameter that such a text means something in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _empty_places(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _empty_places(inner, f"{path}[{number}]")
    elif isinstance(value, str) and not value.strip():
        yield path


def _check_shape(place: int, before: Mapping[str, Any], after: Mapping[str, Any], shape: Any) -> None:
    """Compare what the fallback makes of the job flow with botocore's model."""
    problems = [line for line in _problems(after, shape) if line not in _problems(before, shape)]
    if problems:
        raise _wrong(place, "; ".join(problems), "with it the job flow is not what RunJobFlow takes: correct it")


def _problems(job_flow: Mapping[str, Any], shape: Any) -> list[str]:
    known, _ = without_templates(job_flow, shape)  # `airflow-eip doctor` reads them before they are rendered
    report = ParamValidator().validate(known, shape)
    return report.generate_report().splitlines() if report.has_errors() else []


def _wrong(place: int, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking fallbacks[{place}]", problem=problem, remedy=remedy)
