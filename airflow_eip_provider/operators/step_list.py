"""The ``steps`` parameter of operators, before and after its templates are rendered."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import botocore.session

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import is_template, parse_literal

MAX_STEPS = 256  # pending and running steps of a cluster (EMR API Reference, AddJobFlowSteps)
_LONGEST_ARGUMENT = 10_280  # characters (EMR API Reference, HadoopJarStepConfig.Args)
# EMR API Reference, XmlString: the pattern of names and arguments.
_REFUSED = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_AS_BOTO3 = "give at least one step, as boto3's add_job_flow_steps"
# Placeholders for a step, its HadoopJarStep or a string that is unknown until it is rendered.
_ANY_TEXT = "?"
_ANY_JAR = {"Jar": _ANY_TEXT}
_ANY_STEP = {"Name": _ANY_TEXT, "HadoopJarStep": _ANY_JAR}


class _StepsError(Exception):
    """A list of steps is wrong."""

    def __init__(self, problem: str, remedy: str = _AS_BOTO3) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def checked_steps(value: object, *, task_id: str | None = None) -> list[dict[str, Any]]:
    """
    Return a list of steps for AddJobFlowSteps, from any sequence of mappings or a string that contains one.

    Numbers among the arguments become strings. The AWS API accepts nothing else, and refuses them only when the cluster
    is already running.

    :param task_id: the task whose steps these are, if another task checks them.
    :raises InvalidInputError: naming the step and the argument that is wrong.
    """
    try:
        return _checked_list(value)
    except _StepsError as error:
        what = "steps" if task_id is None else f"the steps of task '{task_id}'"
        raise InvalidInputError(f"checking {what}", problem=error.problem, remedy=error.remedy) from None


def known_steps(value: object) -> list[Any] | None:
    """
    Return the known parts of a list of steps before its templates are rendered, so before the cluster is launched.

    Placeholders stand for templates, files and the outputs of tasks; ``None`` if everything is unknown.
    """
    given = parse_literal(value)
    if isinstance(given, str):
        return None if is_template(given) or given.endswith(".json") else [given]
    if not isinstance(given, (list, tuple)):
        return None if _is_unknown_object(given) else [given]
    return [_known_step(parse_literal(step)) for step in given]


def _checked_list(value: object) -> list[dict[str, Any]]:
    from airflow_eip_provider.aws.parameters import parameter_problems

    given = parse_literal(value)
    if isinstance(given, str) and given:
        lazy = " It is the text of a lazy sequence: pass the task's output itself." if given.startswith("Lazy") else ""
        raise _StepsError(f"they are a string of {len(given)} characters that does not contain a list.{lazy}")
    if isinstance(given, Mapping):
        raise _StepsError("they are a single mapping, not a list", "put it into a list")
    if given is not None and not isinstance(given, (Sequence, set, frozenset)):
        raise _StepsError(f"the step list is not a list of mappings but {type(given).__name__}")
    steps = [parse_literal(entry) for entry in given or ()]
    if not steps:
        raise _StepsError("the step list is empty")
    if len(steps) > MAX_STEPS:
        raise _StepsError(
            f"there are {len(steps)} steps, and EMR takes {MAX_STEPS} pending and running ones of a cluster",
            "spread them over several tasks, one after the other",
        )
    checked = [_checked_step(step, number) for number, step in enumerate(steps)]
    if problems := parameter_problems({"JobFlowId": "j-0", "Steps": checked}, _request_shape()):
        raise _StepsError(problems)
    return checked


def _checked_step(step: object, number: int) -> dict[str, Any]:
    if not isinstance(step, Mapping):
        raise _StepsError(f"the step list is not a list of mappings: entry {number} is {type(step).__name__}")
    jar = parse_literal(step.get("HadoopJarStep"))
    if not step.get("Name") or not isinstance(jar, Mapping):
        raise _StepsError(
            f"step {step.get('Name')!r} has no Name or no HadoopJarStep", "give both, as boto3's add_job_flow_steps"
        )
    name = _text(step["Name"], f"Name of step {number}")
    checked = {**step, "Name": name, "HadoopJarStep": _checked_jar(jar, name)}
    action = step.get("ActionOnFailure")
    if isinstance(action, str) and action != _ANY_TEXT and not is_template(action) and action not in _actions():
        raise _StepsError(
            f"ActionOnFailure of step '{name}' is {action!r}", f"use one of {', '.join(sorted(_actions()))}"
        )
    return checked


def _checked_jar(jar: Mapping[str, Any], name: str) -> dict[str, Any]:
    checked = dict(jar)
    if isinstance(path := jar.get("Jar"), str) and not path.strip():
        raise _StepsError(f"Jar of step '{name}' is empty", "give the JAR, for example command-runner.jar")
    if "Args" in jar:
        given = parse_literal(jar["Args"])
        if isinstance(given, (str, bytes, bytearray, Mapping)) or not isinstance(given, Sequence):
            raise _StepsError(f"Args of step '{name}' is {type(given).__name__}, not a list", "give a list of strings")
        checked["Args"] = [_text(arg, f"argument {n} of step '{name}'") for n, arg in enumerate(given)]
        for number, argument in enumerate(checked["Args"]):
            if len(argument) > _LONGEST_ARGUMENT:
                raise _StepsError(
                    f"argument {number} of step '{name}' has {len(argument)} characters, EMR takes {_LONGEST_ARGUMENT}",
                    "put it into a file in S3, and give its name",
                )
    properties = parse_literal(jar.get("Properties"))
    if isinstance(properties, Sequence) and not isinstance(properties, str):
        checked["Properties"] = [
            {key: _text(text, f"property {key} of step '{name}'") for key, text in entry.items()}
            if isinstance(entry, Mapping)
            else entry
            for entry in properties
        ]
    return checked


def _text(value: object, what: str) -> str:
    """
    Return a string, or a whole number as one; refuse what could be written in more than one way.

    The error does not contain the value, which may be a password.
    """
    if isinstance(value, str):
        if _REFUSED.search(value):
            raise _StepsError(
                f"{what} contains a control character other than tab and line break",
                "EMR does not accept it; write it as the program's own escape, such as \\001",
            )
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _StepsError(
        f"{what} is {type(value).__name__}, not a string",
        "arguments are strings: write it in quotes, as the program expects it; if a template makes it, "
        "render_template_as_native_obj=True of the DAG may have converted a string",
    )


@functools.cache
def _request_shape() -> Any:
    """Return botocore's model of the request; this reads a file and creates no client."""
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
    """Whether Airflow replaces an object when it renders: the output of a task, a literal, a set of templates."""
    return hasattr(value, "resolve") or hasattr(value, "template_fields")
