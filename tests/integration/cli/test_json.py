"""``--json`` of the commands that generate a text: the same text in a JSON object."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CREATE = "aws emr create-cluster --name daily --region eu-west-1 --release-label emr-7.5.0 --instance-type m5.xlarge"
DAG = ["--dag", "--allocation-id", "eipalloc-0123456789abcdef0"]
needs_awscli = pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed")


def test_bootstrap_script_holds_the_script(run, tmp_path):
    script = run("bootstrap-script").out
    said = run("bootstrap-script", "--json")
    assert (said.status, said.result) == (0, {"script": script, "written_to": None})

    path = tmp_path / "associate_eip.sh"
    said = run("bootstrap-script", "--json", "--output", str(path))
    assert said.result == {"script": script, "written_to": str(path)}
    assert path.read_text(encoding="utf-8") == script


def test_iam_policy_is_json_anyway(run):
    role = "arn:aws:iam::123456789012:role/R"
    arguments = ["--allocation-id", "eipalloc-0123456789abcdef0", "--service-role", role, "--instance-role", role]
    arguments += ["--account", "123456789012", "--region", "eu-west-1", "--lock-store", "none"]
    assert run("iam-policy", *arguments, "--json") == run("iam-policy", *arguments)


@needs_awscli
@pytest.mark.parametrize(("options", "key"), [([], "job_flow_overrides"), (DAG, "dag")], ids=["overrides", "dag"])
def test_the_json_of_import_cluster_has_its_output_and_its_notes(run, tmp_path, options, key):
    plain = run("import-cluster", *options, "--", *CREATE.split())
    path = tmp_path / "result"
    said = run("import-cluster", *options, "--json", "--output", str(path), "--", *CREATE.split())
    printed: Any = plain.out if options else json.loads(plain.out)
    assert said.result == {key: printed, "written_to": str(path), "notes": plain.err.splitlines()}
    assert said.err == plain.err
    assert Path(path).read_text(encoding="utf-8") == plain.out


@needs_awscli
def test_an_error_prints_no_json(run):
    said = run("import-cluster", "--json", "--", "aws", "emr", "create-cluster", "--nonsense")
    assert (said.status, said.out) == (2, "")
