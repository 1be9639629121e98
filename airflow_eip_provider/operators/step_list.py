"""A list of steps as an operator is given it: in whatever form, before or after its templates are rendered."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import is_template, parse_literal

MAX_STEPS = 256  # pending and running steps of a cluster (EMR API Reference, AddJobFlowSteps)
_LONGEST_ARGUMENT = 10_280  # characters (EMR API Reference, HadoopJarStepConfig.Args)
_AS_BOTO3 = "give at least one step, as boto3's add_job_flow_steps"
_AS_TEXT = "arguments are text: write it in quotes, as the program is to see it"
# What is not known before it is rendered, in the place of a step, of its HadoopJarStep, and of a text.
_ANY_TEXT = "?"
_ANY_JAR = {"Jar": _ANY_TEXT}
_ANY_STEP = {"Name": _ANY_TEXT, "HadoopJarStep": _ANY_JAR}


def checked_steps(value: object, *, task_id: str | None = None) -> list[dict[str, Any]]:
    """
    Return a list of steps that AddJobFlowSteps takes, from any sequence of mappings or a text that spells one.

    Numbers among the arguments become text. The AWS API takes nothing else, and says so only once the cluster is paid.

    :param task_id: the task whose steps these are, when it is not the one that checks them.
    :raises InvalidInputError: naming the step and the argument that is wrong.
    """
    checking = "steps" if task_id is None else f"the steps of task '{task_id}'"
    steps = _entries(value, checking)
    if len(steps) > MAX_STEPS:
        raise _refused(
            checking,
            problem=f"there are {len(steps)} steps, and EMR takes {MAX_STEPS} pending and running ones of a cluster",
            remedy="spread them over several tasks, one after the other",
        )
    checked = [_checked_step(step, number, checking) for number, step in enumerate(steps)]
    report = ParamValidator().validate({"JobFlowId": "j-0", "Steps": checked}, _request_shape())
    if report.has_errors():
        raise _refused(checking, problem=" ".join(report.generate_report().split()), remedy=_AS_BOTO3)
    return checked


def known_steps(value: object) -> list[Any] | None:
    """
    Return what is known of a list of steps before its templates are rendered, so before their cluster is launched.

    Something harmless is in the place of what a template, a file or the output of a task will be; ``None`` if all is
    unknown.
    """
    given = parse_literal(value)
    if isinstance(given, str):
        return None if is_template(given) or given.endswith(".json") else [given]
    if not isinstance(given, (list, tuple)):
        return None if _is_unknown_object(given) else [given]
    return [_known_step(parse_literal(step)) for step in given]


def _entries(value: object, checking: str) -> list[Any]:
    given = parse_literal(value)
    if isinstance(given, str) and given:
        lazy = " It is the text of a lazy sequence: pass the task's output itself." if given.startswith("Lazy") else ""
        raise _refused(
            checking, problem=f"they are a text that spells no list: {given[:80]!r}.{lazy}", remedy=_AS_BOTO3
        )
    if isinstance(given, Mapping):
        raise _refused(checking, problem="they are a single mapping, not a list", remedy="put it into a list")
    if given is not None and not isinstance(given, (Sequence, set, frozenset)):
        raise _refused(
            checking, problem=f"the step list is not a list of mappings but {type(given).__name__}", remedy=_AS_BOTO3
        )
    steps = [parse_literal(entry) for entry in given or ()]
    if not steps:
        raise _refused(checking, problem="the step list is empty", remedy=_AS_BOTO3)
    return steps


def _checked_step(step: object, number: int, checking: str) -> dict[str, Any]:
    if not isinstance(step, Mapping):
        raise _refused(
            checking,
            problem=f"the step list is not a list of mappings: entry {number} is {type(step).__name__}",
            remedy=_AS_BOTO3,
        )
    jar = parse_literal(step.get("HadoopJarStep"))
    if not step.get("Name") or not isinstance(jar, Mapping):
        raise _refused(
            checking,
            problem=f"step {step.get('Name')!r} has no Name or no HadoopJarStep",
            remedy="give both, as boto3's add_job_flow_steps",
        )
    name = _text(step["Name"], f"Name of step {number}", checking)
    checked = {**step, "Name": name, "HadoopJarStep": _checked_jar(jar, name, checking)}
    action = step.get("ActionOnFailure")
    if isinstance(action, str) and action != _ANY_TEXT and not is_template(action) and action not in _actions():
        raise _refused(
            checking,
            problem=f"ActionOnFailure of step '{name}' is {action!r}",
            remedy=f"use one of {', '.join(sorted(_actions()))}",
        )
    return checked


def _checked_jar(jar: Mapping[str, Any], name: str, checking: str) -> dict[str, Any]:
    checked = dict(jar)
    if "Args" in jar:
        given = parse_literal(jar["Args"])
        if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
            raise _refused(
                checking,
                problem=f"Args of step '{name}' is {type(given).__name__}, not a list",
                remedy="give a list of texts",
            )
        checked["Args"] = [_text(arg, f"argument {n} of step '{name}'", checking) for n, arg in enumerate(given)]
        for number, argument in enumerate(checked["Args"]):
            if len(argument) > _LONGEST_ARGUMENT:
                raise _refused(
                    checking,
                    problem=f"argument {number} of step '{name}' has {len(argument)} characters, EMR takes "
                    f"{_LONGEST_ARGUMENT}",
                    remedy="put it into a file in S3, and give its name",
                )
    properties = parse_literal(jar.get("Properties"))
    if isinstance(properties, Sequence) and not isinstance(properties, str):
        checked["Properties"] = [
            {key: _text(text, f"property {key} of step '{name}'", checking) for key, text in entry.items()}
            if isinstance(entry, Mapping)
            else entry
            for entry in properties
        ]
    return checked


def _text(value: object, what: str, checking: str) -> str:
    """Return a text, or a whole number as one; what could be written in more than one way is refused."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _refused(
        checking,
        problem=f"{what} is {value!r}, {type(value).__name__}, and no text",
        remedy=f"{_AS_TEXT}; when a template makes it, "
        "render_template_as_native_obj=True of the DAG may have turned a text into it",
    )


def _refused(checking: str, *, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"checking {checking}", problem=problem, remedy=remedy)


@functools.cache
def _request_shape() -> Any:
    """Return botocore's own model of the request; it is on the disk, no client is made."""
    return botocore.session.get_session().get_service_model("emr").operation_model("AddJobFlowSteps").input_shape


@functools.cache
def _actions() -> frozenset[str]:
    return frozenset(_request_shape().members["Steps"].member.members["ActionOnFailure"].enum)


def _known_step(step: object) -> Any:
    if not isinstance(step, dict):
        return _ANY_STEP if _is_unknown(step) else step
    known = {key: _ANY_TEXT if _is_unknown_object(value) else value for key, value in step.items()}
    jar = parse_literal(step.get("HadoopJarStep"))
    if isinstance(jar, dict):
        known["HadoopJarStep"] = {key: _known_part(value, key) for key, value in jar.items()}
    elif _is_unknown(jar):
        known["HadoopJarStep"] = _ANY_JAR
    return known


def _known_part(value: object, key: str) -> Any:
    parsed = parse_literal(value) if key in {"Args", "Properties"} else value
    if isinstance(parsed, (list, tuple)):
        return [_known_part(entry, "") for entry in parsed]
    if isinstance(parsed, dict):
        return {name: _known_part(entry, "") for name, entry in parsed.items()}
    if key in {"Args", "Properties"}:
        return [] if _is_unknown(parsed) else parsed
    return _ANY_TEXT if _is_unknown_object(parsed) else parsed


def _is_unknown(value: object) -> bool:
    return is_template(value) or value.endswith(".json") if isinstance(value, str) else _is_unknown_object(value)


def _is_unknown_object(value: object) -> bool:
    """Whether Airflow replaces an object by something else: the output of a task, a literal, a set of templates."""
    return hasattr(value, "resolve") or hasattr(value, "template_fields")
