"""A list of steps: what forms it may have, what EMR would refuse of it, and what is known before it is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.emr import EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator
from airflow_eip_provider.operators.step_list import MAX_STEPS, checked_steps, known_steps
from harness.life import Task
from tests.unit.task_groups.conftest import make_dag

CONTEXT = {"ds_nodash": "20260101", "version": "1_0", "rows": ["a", 5], "nothing": None}


def step(*args: Any, name: Any = "read", **more: Any) -> dict[str, Any]:
    return {"Name": name, "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(args)}, **more}


class Lazy(Sequence):
    """The output of a mapped task in Airflow: a sequence that is not a list."""

    def __init__(self, *entries: Any) -> None:
        self._entries = entries

    def __getitem__(self, key):
        return self._entries[key]

    def __len__(self):
        return len(self._entries)

    def __repr__(self):
        return f"Lazy{self._entries}"


@pytest.mark.parametrize(
    "given",
    [
        [step("a")],
        (step("a"),),
        Lazy(step("a")),
        str([step("a")]),
        '[{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["a"]}}]',
        [str(step("a"))],
        Lazy(str(step("a"))),
        [{"Name": "read", "HadoopJarStep": str(step("a")["HadoopJarStep"])}],
        [{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": "['a']"}}],
        [{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ("a",)}}],
    ],
    ids=lambda given: f"{type(given).__name__} {given!s:.30}",
)
def test_any_sequence_and_any_text_of_it_is_a_list_of_steps(given):
    assert checked_steps(given) == [step("a")]


def test_whole_numbers_become_text():
    properties = [{"Key": "k", "Value": 7}]
    checked = checked_steps(
        [step(5, -1, name=20260101) | {"HadoopJarStep": {"Jar": "j", "Args": [5], "Properties": properties}}]
    )
    assert checked[0]["Name"] == "20260101"
    assert checked[0]["HadoopJarStep"] == {"Jar": "j", "Args": ["5"], "Properties": [{"Key": "k", "Value": "7"}]}


def test_what_is_given_is_not_changed():
    given = [step(5)]
    checked_steps(given)
    assert given == [step(5)]


@pytest.mark.parametrize("argument", [1.5, 1e5, True, None, ["a"], {"a": 1}, b"a"], ids=repr)
def test_an_argument_that_could_be_written_in_more_than_one_way_is_named(argument):
    with pytest.raises(InvalidInputError) as error:
        checked_steps([step("a"), step("b", argument, name="load")])
    for text in ("argument 1 of step 'load'", type(argument).__name__, "render_template_as_native_obj"):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "empty"),
        (None, "empty"),
        ("", "empty"),
        (step("a"), "single mapping"),
        (7, "not a list of mappings but int"),
        ("LazyXComSequence([2 items])", "pass the task's output itself"),
        ("no list", "a string of 7 characters that does not contain a list"),
        ([step("a"), "b"], "entry 1 is str"),
        ([[step("a")]], "entry 0 is list"),
        ([{"Name": "a"}], "step 'a' has no Name or no HadoopJarStep"),
        ([{"Name": "a", "HadoopJarStep": {"Jar": " "}}], "Jar of step 'a' is empty"),
        ([step("a", "\x01")], "argument 1 of step 'read' contains a control character"),
        ([step("a", ActionOnFailure="NONSENSE")], "'NONSENSE'.*CANCEL_AND_WAIT"),
        ([step("a", ActionOnFailure=7)], "ActionOnFailure"),
        ([step("a", Argz=[])], "Argz"),
        ([{"Name": "a", "HadoopJarStep": {"Args": ["a"]}}], "Missing required parameter.*Jar"),
        ([{"Name": "a", "HadoopJarStep": {"Jar": "j", "Args": "a b"}}], "Args of step 'a' is str, not a list"),
        ([{"Name": "a", "HadoopJarStep": {"Jar": "j", "Args": b"a b"}}], "Args of step 'a' is bytes, not a list"),
        ([step("a" * 10_281)], "argument 0 of step 'read' has 10281 characters, EMR takes 10280"),
        ([step("a")] * (MAX_STEPS + 1), "257 steps, and EMR takes 256"),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_what_emr_would_refuse_is_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        checked_steps(given)


@pytest.mark.parametrize("password", [{"x": "S3cr3t"}, ["S3cr3t"], b"S3cr3t"], ids=repr)
def test_a_value_of_a_wrong_type_may_be_a_password_and_is_not_in_the_error(password):
    jars = [
        {"Jar": "j", "Args": [password]},
        {"Jar": password},
        {"Jar": "j", "Properties": [{"Key": "password", "Value": password}]},
        {"Jar": "j", "Properties": [password]},
    ]
    for given in (
        *([{"Name": "n", "HadoopJarStep": jar}] for jar in jars),
        "[{'Args': 'S3cr3t'",
        [step(name=password)],
    ):
        with pytest.raises(InvalidInputError) as refused:
            checked_steps(given)
        assert "S3cr3t" not in str(refused.value)


def test_as_many_as_emr_takes_are_taken():
    assert len(checked_steps([step("a" * 10_280)] * MAX_STEPS)) == MAX_STEPS


# Before rendering.


class Output:
    """Stands for the output of a task."""

    def resolve(self, context):
        raise AssertionError

    def __repr__(self):
        return "Output()"


@pytest.mark.parametrize("given", [Output(), "{{ steps }}", "steps.json", "[{{ one }}]"], ids=repr)
def test_nothing_is_known_of_a_template_as_a_whole(given):
    assert known_steps(given) is None


@pytest.mark.parametrize(
    "given",
    [
        [Output()],
        ["{{ step }}"],
        [step(Output(), "{{ x }}", "s3://b/settings.json")],
        [{"Name": Output(), "ActionOnFailure": "{{ x }}", "HadoopJarStep": Output()}],
        [{"Name": "{{ x }}", "HadoopJarStep": {"Jar": "{{ x }}", "Args": Output()}}],
        [{"Name": "{{ x }}", "HadoopJarStep": {"Jar": Output(), "Args": "{{ x }}", "Properties": Output()}}],
        [{"Name": "{{ x }}", "HadoopJarStep": "{{ x }}"}],
    ],
    ids=lambda given: f"{given!s:.60}",
)
def test_what_is_not_known_yet_may_be_anything(given):
    checked_steps(known_steps(given))


@pytest.mark.parametrize(
    "given",
    [[], [step("{{ x }}", 1.5)], [step("{{ x }}")] * 257, ["nonsense"], [step(Output(), Argz=1)], "nonsense", 7],
    ids=lambda given: f"{given!s:.60}",
)
def test_what_is_wrong_already_is_refused(given):
    with pytest.raises(InvalidInputError, match="the steps of task 'load'"):
        checked_steps(known_steps(given), task_id="load")


def test_nothing_is_launched_for_steps_that_emr_would_refuse(
    clocked, create_operator, deferrable, assert_nothing_changed
):
    create = create_operator(deferrable=deferrable)
    create.planned_steps["daily.load"] = known_steps([step("{{ ds }}", 1.5)])
    with pytest.raises(
        AirflowFailException, match=r"the steps of task 'daily.load': argument 1 of step 'read' is float"
    ):
        Task(create).run()
    assert_nothing_changed()


# Rendering.


def rendered(*, native: bool, operator: type = EmrAddStepsWithStaticIpOperator, **fields: Any) -> Any:
    with make_dag(render_template_as_native_obj=native):
        task = operator(task_id="t", allocation_id="eipalloc-1", **fields)
    task.render_template_fields(CONTEXT)
    return task


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("20260101", "20260101"),
        ("{{ ds_nodash }}", "20260101"),
        ("{{ version }}", "1_0"),
        ("0x1F", "0x1F"),
        ("1e5", "1e5"),
        ('{"a": 1}', '{"a": 1}'),
        ("'quoted'", "'quoted'"),
        ("True", "True"),
        ("", ""),
        (" 5", " 5"),
        ("{{ nothing }}", "None"),
        ("s3://bucket/settings.json", "s3://bucket/settings.json"),
        ("s3://bucket/{{ ds_nodash }}.json", "s3://bucket/20260101.json"),
        ("{{ ds_nodash }}/settings.json", "20260101/settings.json"),
    ],
)
def test_an_argument_is_the_text_that_it_is(native, argument, text):
    task = rendered(native=native, job_flow_id="j-1", steps=[step(argument)])
    assert checked_steps(task.steps) == [step(text)]


@pytest.mark.parametrize("native", [False, True])
def test_a_template_of_a_whole_list_is_a_list(native):
    steps = [{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": "{{ rows }}"}}]
    task = rendered(native=native, job_flow_id="j-1", steps=steps)
    assert checked_steps(task.steps) == [step("a", "5")]


def test_overrides_are_native_where_the_dag_asks_for_it_and_name_no_files():
    action = {"ScriptBootstrapAction": {"Path": "s3://b/x.sh", "Args": ["s3://b/settings.json", "{{ ds_nodash }}"]}}
    overrides = {"Count": "{{ 1 + 1 }}", "BootstrapActions": [action]}
    native, text = (
        rendered(native=native, operator=EmrCreateWithStaticIpOperator, job_flow_overrides=overrides).job_flow_overrides
        for native in (True, False)
    )
    assert (native["Count"], text["Count"]) == (2, "2")
    for found in (native, text):
        assert found["BootstrapActions"][0]["ScriptBootstrapAction"]["Args"][0] == "s3://b/settings.json"


def test_the_value_of_a_field_itself_is_the_name_of_a_file(tmp_path):
    (tmp_path / "steps.json").write_text('[{"Name": "{{ ds_nodash }}"}]', encoding="utf-8")
    with make_dag(template_searchpath=[str(tmp_path)]):
        task = EmrAddStepsWithStaticIpOperator(task_id="t", allocation_id="e", job_flow_id="j-1", steps="steps.json")
    task.render_template_fields(CONTEXT)
    assert task.steps == '[{"Name": "20260101"}]'


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("InstanceCount", "2", ("InstanceCount", "must become a number")),
        ("Ec2KeyName", 20260101, ("Ec2KeyName", "text that consists of digits becomes a number")),
        (
            "Placement",
            {"AvailabilityZones": [7]},
            ("AvailabilityZones", "text that consists of digits becomes a number"),
        ),
    ],
)
def test_overrides_of_the_wrong_type_name_the_option(clocked, create_operator, overrides, path, value, names):
    overrides["Instances"][path] = value
    with pytest.raises(AirflowFailException) as error:
        Task(create_operator(job_flow_overrides=overrides)).run()
    for text in (*names, "render_template_as_native_obj"):
        assert text in str(error.value)


def test_steps_of_any_form_run_in_both_modes(clocked, create_operator, steps_operator, deferrable, emr):
    job_flow_id = Task(create_operator(deferrable=deferrable)).run()
    steps = Lazy(step("true", 5), str(step("false", "s3://b/settings.json")))
    step_ids = Task(steps_operator(job_flow_id, steps=steps, deferrable=deferrable)).run()
    sent = [emr.describe_step(ClusterId=job_flow_id, StepId=step_id)["Step"]["Config"]["Args"] for step_id in step_ids]
    assert sent == [["true", "5"], ["false", "s3://b/settings.json"]]
