"""``--json`` of the commands that make a text: the same text, for programs."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.cli.__main__ import main
from tests.integration.cli.conftest import Said

if TYPE_CHECKING:
    from collections.abc import Callable

CREATE = "aws emr create-cluster --name daily --region eu-west-1 --release-label emr-7.5.0 --instance-type m5.xlarge"
DAG = ["--dag", "--allocation-id", "eipalloc-0123456789abcdef0"]
needs_awscli = pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Carry a command out."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        return Said(main(list(arguments)), *capsys.readouterr())

    return run


def test_bootstrap_script_holds_the_script(say, tmp_path):
    script = say("bootstrap-script").out
    said = say("bootstrap-script", "--json")
    assert (said.status, said.result) == (0, {"script": script, "written_to": None})

    path = tmp_path / "associate_eip.sh"
    said = say("bootstrap-script", "--json", "--output", str(path))
    assert said.result == {"script": script, "written_to": str(path)}
    assert path.read_text(encoding="utf-8") == script


def test_iam_policy_is_json_anyway(say):
    role = "arn:aws:iam::123456789012:role/R"
    arguments = ["--allocation-id", "eipalloc-0123456789abcdef0", "--service-role", role, "--instance-role", role]
    arguments += ["--account", "123456789012", "--region", "eu-west-1", "--lock-store", "none"]
    assert say("iam-policy", *arguments, "--json") == say("iam-policy", *arguments)


@needs_awscli
@pytest.mark.parametrize(("options", "key"), [([], "job_flow_overrides"), (DAG, "dag")], ids=["overrides", "dag"])
def test_import_cluster_holds_what_it_prints_and_what_it_says(say, tmp_path, options, key):
    plain = say("import-cluster", *options, "--", *CREATE.split())
    path = tmp_path / "result"
    said = say("import-cluster", *options, "--json", "--output", str(path), "--", *CREATE.split())
    printed: Any = plain.out if options else json.loads(plain.out)
    assert said.result == {key: printed, "written_to": str(path), "notes": plain.err.splitlines()}
    assert said.err == plain.err
    assert Path(path).read_text(encoding="utf-8") == plain.out


@needs_awscli
def test_an_error_prints_no_json(say):
    said = say("import-cluster", "--json", "--", "aws", "emr", "create-cluster", "--nonsense")
    assert (said.status, said.out) == (2, "")
