"""What is refused before the first call that changes AWS."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.checks import examine
from airflow_eip_provider.exceptions import InvalidInputError, PreflightError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.checks import Check, Setup

_ALLOCATION_ID = re.compile(r"eipalloc-([0-9a-f]{8}|[0-9a-f]{17})")
MULTI_NODE_CHOICES = ("fail", "warn", "allow")


def _invalid(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)


def check_allocation_id(allocation_id: object) -> None:
    """
    Check the form of an allocation ID.

    :raises InvalidInputError: when it cannot be one.
    """
    if not isinstance(allocation_id, str) or not _ALLOCATION_ID.fullmatch(allocation_id):
        raise _invalid(
            f"allocation_id {allocation_id!r}",
            problem="this is not the allocation ID of an Elastic IP",
            remedy="give what EC2 shows as 'Allocation ID' (eipalloc-…), neither the address nor its association",
        )


def require(setup: Setup, checks: Sequence[Check]) -> list[str]:
    """
    Make the checks that a launch depends on.

    :return: warnings.
    :raises PreflightError: naming everything that is wrong.
    """
    outcomes = examine(setup, [check for check in checks if check.at_launch])
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if errors := [str(finding) for finding in findings if finding.severity == "error"]:
        raise PreflightError(setup.allocation_id, errors)
    return [str(finding) for finding in findings]


def checked_mapping(value: object, *, parameter: str) -> dict[str, Any]:
    """
    Return a parameter that is a mapping, or a string (as from a rendered ``.json`` file) that spells one.

    :raises InvalidInputError: when it is neither.
    """
    parsed = parse_literal(value)
    if not isinstance(parsed, dict):
        raise _invalid(
            parameter,
            problem=f"it is {type(parsed).__name__}, not a mapping",
            remedy="give RunJobFlow's parameters as a dict, or as the path of a .json file",
        )
    return parsed


def parse_literal(value: object) -> object:
    """Read a string as JSON or as a Python literal; return what is neither as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def checked_steps(value: object) -> list[dict[str, Any]]:
    """
    Return a step list that EMR can be sent.

    :raises InvalidInputError: when it is empty or no list of mappings.
    """
    steps = parse_literal(value)
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        found = "empty" if steps in ([], "", None) else f"not a list of mappings but {type(steps).__name__}"
        raise _invalid(
            "steps", problem=f"the step list is {found}", remedy="give at least one step, as boto3's add_job_flow_steps"
        )
    for step in steps:
        if not step.get("Name") or not isinstance(step.get("HadoopJarStep"), dict):
            raise _invalid(
                "steps",
                problem=f"step {step.get('Name')!r} has no Name or no HadoopJarStep",
                remedy="give both, as boto3's add_job_flow_steps",
            )
    return steps
