from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_eip_provider.awscli_import.job_flow import Imported, for_a_dag, without_association
from airflow_eip_provider.exceptions import UsageError
from tests.unit.awscli_import.commands import ASSOCIATING_SCRIPT


def action(path: str, *args: str, name: str = "Bootstrap Actions") -> dict[str, Any]:
    return {"Name": name, "ScriptBootstrapAction": {"Path": path, "Args": list(args)}}


def request(**given: Any) -> dict[str, Any]:
    return {"Name": "daily", "Instances": {"KeepJobFlowAliveWhenNoSteps": True}, **given}


@pytest.mark.parametrize(
    ("associating", "named"),
    [
        (action("s3://b/run.sh", "s3://b/parametersValues.json"), "parametersValues.json"),
        (action("s3://b/associate-elastic-ip.sh"), "associate-elastic-ip"),
        (action("s3://b/associate_eip.py", "eipalloc-1"), "associate_eip"),
        (action("s3://b/run.sh", "aws", "ec2", "associate-address", "--allocation-id", "x"), "associate-address"),
        (action("s3://b/internetprotocol-jar-with-dependencies.jar"), "internetprotocol-jar-with-dependencies.jar"),
    ],
)
def test_an_associating_action_is_left_out_with_the_reason(associating: dict[str, Any], named: str) -> None:
    packages = action("s3://b/install.sh", "pytds", name="Packages")
    imported = without_association(request(BootstrapActions=[packages, associating]), scripts={})

    assert imported.overrides["BootstrapActions"] == [packages]
    assert [note for note in imported.notes if "is left out" in note] == [
        (
            f"bootstrap action 'Bootstrap Actions' ({associating['ScriptBootstrapAction']['Path']}) is left out: "
            f"it names {named}"
        )
    ]


def test_an_associating_action_is_recognised_by_the_text_of_its_script() -> None:
    given = request(BootstrapActions=[action("s3://signals/bootstrap.sh")])

    unknown = without_association(given, scripts={"bootstrap.sh": "yum install htop"})
    known = without_association(given, scripts={"bootstrap.sh": ASSOCIATING_SCRIPT})

    assert unknown.overrides == given
    assert "stays" in unknown.notes[0]
    assert "BootstrapActions" not in known.overrides
    assert "is left out: its script names internetprotocol" in known.notes[0]


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("address.sh", ["instance.isMaster=true", "s3://b/address.sh"]),
        ("address.sh", ["instance.isMaster=true", "aws s3 cp s3://b/address.sh . && bash ./address.sh"]),
        ("run-if", ["instance.isMaster=true", "s3://b/other.sh"]),
        ("address.sh", ["--then", "'s3://b/address.sh'"]),
    ],
)
def test_an_associating_action_is_recognised_by_the_script_of_run_if(script: str, arguments: list[str]) -> None:
    run_if = action("s3://elasticmapreduce/bootstrap-actions/run-if", *arguments, name="Address")
    packages = action("s3://b/install.sh", "pytds", name="Packages")

    imported = without_association(
        request(BootstrapActions=[run_if, packages]), scripts={script: 'aws ec2 associate-address --instance-id "$1"'}
    )

    assert imported.overrides["BootstrapActions"] == [packages]
    assert (
        "bootstrap action 'Address' (s3://elasticmapreduce/bootstrap-actions/run-if) is left out" in imported.notes[0]
    )
    assert "its script names associate-address" in imported.notes[0]


def test_script_that_two_actions_run_in_their_arguments_is_refused() -> None:
    given = request(BootstrapActions=[action("s3://b/run-if", "x", "s3://b/a.sh"), action("s3://b/a.sh")])
    with pytest.raises(UsageError, match=r"several bootstrap actions have that file name: s3://b/a\.sh, s3://b/run-if"):
        without_association(given, scripts={"a.sh": ASSOCIATING_SCRIPT})


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ([], "no bootstrap action has that file name; their paths are: none; leave it out"),
        (["s3://b/a.sh", "s3://b/b.sh"], "their paths are: s3://b/a.sh, s3://b/b.sh; give the copy the name of"),
        (["s3://b/run.sh", "s3://c/run.sh"], "several bootstrap actions have that file name: s3://b/run.sh, s3://c/"),
    ],
)
def test_script_of_no_action_or_of_several_is_refused(paths: list[str], said: str) -> None:
    given = request(BootstrapActions=[action(path) for path in paths])
    with pytest.raises(UsageError, match=re.escape(said)):
        without_association(given, scripts={"run.sh": ASSOCIATING_SCRIPT})


def test_script_of_a_repeated_action_is_accepted() -> None:
    given = request(BootstrapActions=[action("s3://b/run.sh", "one"), action("s3://b/run.sh", "two")])
    assert "BootstrapActions" not in without_association(given, scripts={"run.sh": ASSOCIATING_SCRIPT}).overrides


@pytest.mark.parametrize("path", ["s3://b/install.sh", "s3://b/ip-ranges.json", "s3://b/disassociate.txt"])
def test_other_bootstrap_actions_stay(path: str) -> None:
    given = request(BootstrapActions=[action(path, "--address", "10.0.0.1")])
    assert without_association(given, scripts={}).overrides == given


def test_steps_and_their_role_come_after_the_binding() -> None:
    steps = [{"Name": "read", "HadoopJarStep": {"Jar": "x.jar"}}]
    given = request(Steps=steps, StepExecutionRoleArn="arn:aws:iam::1:role/r")

    changed = for_a_dag(Imported(given))

    assert changed.overrides == request()
    assert (changed.steps, changed.execution_role_arn) == (steps, "arn:aws:iam::1:role/r")
    assert "steps 'read': a separate task runs them after the address is bound" in changed.notes


def test_auto_terminate_is_replaced_by_the_teardown() -> None:
    changed = for_a_dag(Imported(request(Instances={"KeepJobFlowAliveWhenNoSteps": False})))

    assert changed.overrides == request()
    assert any(note.startswith("--auto-terminate: ") for note in changed.notes)


def test_the_imported_request_is_not_modified() -> None:
    given = request(Steps=[{"Name": "read"}], BootstrapActions=[action("s3://b/associate-eip.sh")])
    imported = without_association(given, scripts={})
    for_a_dag(imported)
    assert given["BootstrapActions"]
    assert imported.overrides["Steps"]
