"""Checks of an operator's ``fallbacks``, before any call to AWS."""

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

    Problems of ``job_flow`` itself are findings of the checks of each candidate; a fallback must not add any.

    :param job_flow: merged with the extra of the EMR connection.
    :param fallbacks: the operator's: a list, or a string that contains one; an entry may be a string, too.
    :param shape: botocore's model of RunJobFlow's request.
    :raises InvalidInputError: naming the wrong fallback, such as "fallbacks[1]".
    """
    patches = parsed_fallbacks(fallbacks)
    candidates = candidates_of(job_flow, patches, rounds)
    for index, patch in enumerate(patches):
        if problem := _find_problem(patch, job_flow, candidates[index + 1].job_flow, shape):
            raise InvalidInputError(f"checking fallbacks[{index}]", problem=problem[0], remedy=problem[1])
    return candidates


def parsed_fallbacks(fallbacks: object) -> list[Any]:
    """
    Parse the fallbacks, which may be or contain strings because templates render to strings.

    :raises InvalidInputError: if they are not a list.
    """
    given = parse_literal(fallbacks)
    if is_nothing(given):
        return []
    if not isinstance(given, (list, tuple)):
        raise InvalidInputError(
            f"checking fallbacks {fallbacks!r}",
            problem=f"it is {type(given).__name__}, not a list",
            remedy='give a list of the changes of each: [{"Instances": {"Ec2SubnetId": "subnet-…"}}]',
        )
    return [parse_literal(entry) for entry in given]


def name_of(candidate: Candidate, *, fallbacks: int) -> str:
    """Return the name of a candidate in findings; further rounds repeat the names."""
    place = candidate.number % (1 + fallbacks)
    return f"fallbacks[{place - 1}]" if place else FIRST


def _find_problem(
    patch: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], shape: Any
) -> tuple[str, str] | None:
    """Return what is wrong with a fallback and how to fix it, given the job flows before and after its changes."""
    known = {*shape.members, BINDING_KEY}
    if unknown := [key for key in patch if key not in known and not is_template(str(key))]:
        return (
            f"unknown parameter {', '.join(map(repr, unknown))}",
            "use parameters of RunJobFlow (boto3's run_job_flow), or 'binding'",
        )
    if empty := next(_empty_places(patch), None):
        return f"{empty} is empty", "if it is a template, check the variable that it reads; or remove the fallback"
    if new := [line for line in _shape_problems(after, shape) if line not in _shape_problems(before, shape)]:
        return "; ".join(new), "RunJobFlow does not accept the job flow with this fallback: correct it"
    return None


def _empty_places(value: object, path: str = "") -> Iterator[str]:
    """Find empty strings, which mean nothing in any parameter of RunJobFlow."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _empty_places(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _empty_places(inner, f"{path}[{number}]")
    elif isinstance(value, str) and not value.strip():
        yield path


def _shape_problems(job_flow: Mapping[str, Any], shape: Any) -> list[str]:
    known, _ = without_templates(job_flow, shape)  # `airflow-eip doctor` reads them before they are rendered
    report = ParamValidator().validate(known, shape)
    return report.generate_report().splitlines() if report.has_errors() else []
