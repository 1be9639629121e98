"""Generated overrides and steps, compared with botocore's own validation of the request."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import is_template
from airflow_eip_provider.operators.preflight import checked_mapping
from airflow_eip_provider.operators.step_list import MAX_STEPS, checked_steps, known_steps
from airflow_eip_provider.preflight import Setup, examine, job_flow, without_templates

EMR = botocore.session.get_session().get_service_model("emr")
RUN_JOB_FLOW = EMR.operation_model("RunJobFlow").input_shape
ADD_STEPS = EMR.operation_model("AddJobFlowSteps").input_shape
CHECKS = (
    job_flow.shape,
    job_flow.values,
    job_flow.lifetime,
    job_flow.idle_termination,
    job_flow.tags,
    job_flow.one_primary,
    job_flow.topology,
)
OVERRIDES: dict[str, Any] = {
    "Name": "daily",
    "ReleaseLabel": "emr-5.29.0",
    "Tags": [{"Key": "k", "Value": "v"}],
    "AutoTerminationPolicy": {"IdleTimeout": 600},
    "Configurations": [{"Classification": "spark", "Properties": {"a": "b"}}],
    "BootstrapActions": [{"Name": "a", "ScriptBootstrapAction": {"Path": "s3://b/x.sh", "Args": ["a.json"]}}],
    "Instances": {
        "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
        "KeepJobFlowAliveWhenNoSteps": True,
        "Ec2SubnetId": "subnet-1",
    },
}
STEP = {
    "Name": "read",
    "ActionOnFailure": "CONTINUE",
    "HadoopJarStep": {
        "Jar": "command-runner.jar",
        "Args": ["spark-submit", "20260101", "a.json"],
        "Properties": [{"Key": "k", "Value": "v"}],
    },
}
TEXTS = st.sampled_from(
    ["", "5", "{{ x }}", "{% if x %}", "['a']", "{'Jar': 'j'}", "x.json", "None", "[" * 3000, "{[]: 1}"]
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=4) | TEXTS
NAMES = st.sampled_from(["Name", "Instances", "Args", "Jar", "Key", "Tags", "InstanceCount", "{{ x }}"]) | st.text(
    max_size=3
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, child in children for found in paths(child, (*path, name)))]


@st.composite
def mutated(draw: st.DrawFn, original: Any) -> Any:
    """Change, remove or add values in a few places."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(paths(value)[1:] or [("Name",)]))
        inner = value
        for name in way:
            inner = inner[name]
        kind = draw(st.sampled_from(["change", "change", "leave out", "add"]))
        if kind == "change":
            inner[last] = draw(VALUES)
        elif kind == "leave out":
            del inner[last]
        elif isinstance(inner, dict):
            inner[draw(NAMES)] = draw(VALUES)
        else:
            inner.append(draw(VALUES))
    return value


def spelled(value: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([value, str(value), json.dumps(value)])


def errors_of(given: dict[str, Any], templated: frozenset[str] = frozenset()) -> list[str]:
    emr = SimpleNamespace(conn=SimpleNamespace(meta=SimpleNamespace(service_model=EMR)))
    setup = Setup(allocation_id="eipalloc-1", eip=SimpleNamespace(), emr=emr, job_flow=given, templated=templated)
    found = [finding for outcome in examine(setup, CHECKS) for finding in outcome.findings]
    return [str(finding) for finding in found if finding.severity == "error"]


def is_refused_by_botocore(given: Any, shape: Any) -> bool:
    return bool(ParamValidator().validate(given, shape).has_errors())


@given(data=st.data(), value=mutated(OVERRIDES) | VALUES)
@settings(deadline=None)
def test_overrides_that_botocore_refuses_are_refused(data: st.DataObject, value: Any) -> None:
    try:
        overrides = checked_mapping(data.draw(spelled(value)), parameter="job_flow_overrides")
    except InvalidInputError:
        event("not a mapping")
        return
    errors = errors_of(overrides)
    refused = is_refused_by_botocore(overrides, RUN_JOB_FLOW)
    event(f"botocore refuses: {refused}")
    if refused:
        assert errors


@given(value=mutated(OVERRIDES))
@settings(deadline=None)
def test_the_doctor_reads_any_file_and_replaces_templates_only(value: dict[str, Any]) -> None:
    known, templated = without_templates(value, RUN_JOB_FLOW)
    errors_of(known, templated)
    if not is_template(json.dumps(value)):
        assert (json.dumps(known), templated) == (json.dumps(value), frozenset())


@given(data=st.data(), value=st.lists(mutated(STEP), max_size=3) | VALUES)
@example(data=None, value=[STEP] * (MAX_STEPS + 1))
@settings(deadline=None)
def test_steps_that_botocore_refuses_are_refused(data: Any, value: Any) -> None:
    given = data.draw(spelled(value)) if data else value
    try:
        steps = checked_steps(given)
    except InvalidInputError as error:
        event("refused")
        assert "checking steps" in str(error)  # noqa: PT017 - other inputs raise nothing
        known_steps(given)
        return
    assert not is_refused_by_botocore({"JobFlowId": "j-1", "Steps": steps}, ADD_STEPS)
    assert 0 < len(steps) <= MAX_STEPS
    known = known_steps(given)
    if known is not None:
        checked_steps(known)  # steps that can be submitted are not refused before the launch
