"""What is captured of a command, beside what the real AWS CLI sends to the local EMR."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.awscli_import.aws_cli import run_job_flow_of
from airflow_eip_provider.awscli_import.shell import arguments_of
from airflow_eip_provider.exceptions import UsageError
from tests.unit.awscli_import.commands import ALONE, COMMANDS, SIGNALS, START

if TYPE_CHECKING:
    from pathlib import Path

    from local_emr import LocalAws

pytestmark = [
    pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed"),
    pytest.mark.usefixtures("quick_import"),
]

HALF_A_PAIR = r"""'[{"Classification":"x","Properties":{"x":"\ud800"}}]'"""
CONFIG = """\
[default]
region = eu-central-1
emr =
    service_role = of-the-config
    log_uri = s3://of-the-config/
    enable_debugging = true
[plugins]
nothing = no.such.module
"""


def sent_by_the_real_one(directory: Path, local_aws: LocalAws, real: Path) -> dict[str, Any]:
    """Let a shell run the command with the real AWS CLI, and return what arrived."""
    # For this command AWS_ENDPOINT_URL does not count.
    shim = directory / "bin/aws"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {real} "$@" --endpoint-url {local_aws.endpoint_url}\n')
    shim.chmod(0o755)
    path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
    # The local EMR may refuse a cluster for what it has not: a subnet, three primaries.
    subprocess.run(
        ["bash", "launch.sh"], cwd=directory, env={**os.environ, "PATH": path}, capture_output=True, check=False
    )
    (call,) = local_aws.events.calls()
    assert call["operation"] == "RunJobFlow"
    return dict(call["request"])


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_captured_is_what_the_real_aws_cli_sends(
    name: str, local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_cli: Path
) -> None:
    launch = COMMANDS[name].write(tmp_path)
    expected = sent_by_the_real_one(tmp_path, local_aws, aws_cli)
    monkeypatch.chdir(tmp_path)

    captured = run_job_flow_of(arguments_of(launch.read_text()))

    assert captured.request == expected
    assert list(captured.request) == list(expected)


@pytest.mark.new_python
def test_nothing_is_sent_and_no_setting_of_the_user_is_read(
    local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SIGNALS.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    without = run_job_flow_of(arguments_of(SIGNALS.text))
    (tmp_path / ".aws/cli").mkdir(parents=True)
    (tmp_path / ".aws/config").write_text(CONFIG)
    (tmp_path / ".aws/cli/alias").write_text("[toplevel]\nemr = !touch ran\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / ".aws/config"))
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    environment = dict(os.environ)
    options = f"--profile mine --endpoint-url {local_aws.endpoint_url} --debug"

    captured = run_job_flow_of([*arguments_of(SIGNALS.text), *options.split()])

    assert captured.request == without.request
    assert sorted(captured.ignored) == ["--debug", "--endpoint-url", "--profile"]
    assert local_aws.events.calls() == []
    assert not (tmp_path / "ran").exists()
    assert dict(os.environ) == environment


def test_files_are_found_as_the_aws_cli_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SIGNALS.write(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HERE", str(tmp_path))
    command = [*START.split(), *ALONE.split(), "--configurations", "file://~/configurations.json"]
    command += ["--bootstrap-actions", "file://$HERE/bootstrap.json"]

    captured = run_job_flow_of(command)

    assert captured.request["Configurations"] == SIGNALS.files["configurations.json"]
    assert captured.request["BootstrapActions"][0]["Name"] == "Bootstrap Actions"


def test_region_is_the_commands_or_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    least = ["aws", "emr", "create-cluster", "--release-label", "emr-7.5.0", "--instance-type", "m5.xlarge"]
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert run_job_flow_of(least).region == "eu-west-3"
    assert run_job_flow_of([*least, "--region", "eu-west-2"]).region == "eu-west-2"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UsageError, match="it names no region; add --region"):
        run_job_flow_of(least)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("", ["there is none"]),
        ("emr create-cluster", ["it starts with 'emr'"]),
        (
            "set -e\naws emr create-cluster",
            ["the AWS CLI refuses it", "--release-label is required"],
        ),
        ("set -n\naws emr create-cluster", ["line 1: 'set -n' is before the command", "such as cd, export"]),
        ("$ aws emr create-cluster", ["it starts with '$'", "or the prompt of a shell"]),
        ("sudo aws emr create-cluster", ["it starts with 'sudo'", "with nothing before it, such as sudo"]),
        ("AWS_PROFILE=x aws emr create-cluster", ["it starts with 'AWS_PROFILE=x'", "NAME=value"]),
        (f"{START} {ALONE} --steps file://none.json", ["none.json", "run this in the folder of the command"]),
        (f"{START} {ALONE} ' '", ["(among its words: ' ')"]),
        (f"{START} --instance-type m5.xlarge ' '", ["Unknown options", "(among its words: ' ')"]),
        ("aws", ["command"]),
        ("aws --version", ["it sends nothing"]),
        ("aws help", ["this is not 'aws emr create-cluster …': aws help"]),
        ("aws s3 rb s3://b", ["aws s3 rb s3://b"]),
        ("aws emr terminate-clusters --cluster-ids j-1", ["Invalid choice", "create-cluster"]),
        ("aws emr help", ["this is not 'aws emr create-cluster …': aws emr help"]),
        ("aws emr create-cluster help", ["this is not 'aws emr create-cluster …'"]),
        (f"{START} {ALONE} --no-such-option 1", ["--no-such-option"]),
        (f"{START} {ALONE} --auto-terminate --no-auto-terminate", ["--auto-terminate", "--no-auto-terminate"]),
        (f"{START} {ALONE} --ami-version 3.11.0", ["--ami-version", "--release-label"]),
        (f"{START} {ALONE} --service-role R", ["--use-default-roles", "--service-role"]),
        (f"{START} {ALONE} --instance-fleets file://x.json", ["--instance-fleets", "x.json"]),
        (f"{START} {ALONE} --instance-type m5.xlarge", ["--instance-groups", "--instance-type"]),
        (f"{START} {ALONE} --ec2-attributes SubnetId=s,SubnetIds=[s]", ["SubnetId", "SubnetIds"]),
        (f"{START} {ALONE} --ec2-attributes Subnet=s", ["Subnet"]),
        (f"{START} {ALONE} --release-label", ["--release-label"]),
        (f"{START} {ALONE} --step-concurrency-level many", ["--step-concurrency-level", "many"]),
        (f"{START} {ALONE} --kerberos-attributes Realm=R", ["KdcAdminPassword"]),
        (f"{START} {ALONE} --steps Type=PRESTO,Args=[a]", ["presto"]),
        (
            f"{START} {ALONE} --configurations https://example.com/c.json",
            ["--configurations", "download it (curl --remote-name 'https://example.com/c.json')", "file://NAME"],
        ),
        (f"{START} {ALONE} --log-uri https://b.example.com/l", ["--log-uri", "write it as s3://BUCKET/PREFIX/"]),
        (f"{START} {ALONE} --no-such file://x.json", ["--no-such", "leave out the unknown option"]),
        (f"{START} {ALONE} --configurations '{{a'", ["--configurations", "correct the JSON"]),
        (f"{START} {ALONE} --ec2-attributes file://.", ["--ec2-attributes", "name a file that can be read"]),
        (
            f"{START} --cli-input-json file://cluster.json",
            ["no version of the AWS CLI has --cli-input-json", "job_flow_over"],
        ),
        (
            f"{START} --cli-input-json '{{}}'",
            ["no version of the AWS CLI has --cli-input-json", "there is nothing to import"],
        ),
        (f"{START} {ALONE} --generate-cli-skeleton", ["no version of the AWS CLI has --generate-cli-skeleton"]),
        (f"{START} {ALONE} --output xml", ["--output", "yaml-stream"]),
        (f"{START} {ALONE} --query a[", ["--query", "a["]),
        (f"{START} {ALONE} --cli-binary-format hex", ["--cli-binary-format", "raw-in-base64-out"]),
        (f"{START} {ALONE} --endpoint-url local", ["--endpoint-url", "local", "https://HOST"]),
        (f"{START} {ALONE} --endpoint-url https://", ["--endpoint-url: Invalid endpoint: https://", "https://HOST"]),
        (f"{START} {ALONE} --endpoint-url localhost:5000", ["Invalid endpoint: localhost:5000", "https://HOST:PORT"]),
        (f"{START} {ALONE} --endpoint-url https://x:65536", ["Port out of range", "leave --endpoint-url out"]),
        (f"{START} {ALONE} --ca-bundle ' '", ["Invalid CA bundle", "leave --ca-bundle out"]),
        (f"{START} {ALONE} --cli-connect-timeout 1.5", ["--cli-connect-timeout: invalid literal", "'1.5'"]),
        (f"{START} {ALONE} --name {'x' * 200_000}", ["too long", "put the longest value into a file"]),
        (f"{START} {ALONE} --name '\ud800'", ["a word of it is not text", "correct the command"]),
        (f"{START} {ALONE} --configurations {HALF_A_PAIR}", ["half a surrogate pair"]),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(command: str, names: list[str], local_aws: LocalAws) -> None:
    with pytest.raises(UsageError) as refusal:
        run_job_flow_of(arguments_of(command))

    assert [name for name in names if name not in str(refusal.value)] == []
    assert "Traceback" not in str(refusal.value)
    assert local_aws.events.calls() == []


def test_no_region_makes_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)  # with one, botocore needs no region for it
    with pytest.raises(UsageError, match=r"Invalid endpoint: https://elasticmapreduce\.\.") as refusal:
        run_job_flow_of(arguments_of(f"{START} {ALONE} --region ''"))
    assert "name a region" in str(refusal.value)


def test_remedy_for_a_file_is_that_of_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    (tmp_path / "cut.json").write_text("[{")
    (tmp_path / "other.json").write_text('[{"Nope": 1}]')
    refused = {}
    for name in ("latin", "cut", "other", "none"):
        with pytest.raises(UsageError) as refusal:
            run_job_flow_of(arguments_of(f"{START} {ALONE} --bootstrap-actions file://{name}.json"))
        refused[name] = refusal.value.remedy
    assert refused["latin"].startswith("save that file in UTF-8")
    assert refused["cut"].startswith("correct the JSON")
    assert refused["other"] == "correct the command"
    assert refused["none"].startswith("run this in the folder of the command")


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        ("--no-cli-pager", ["--no-cli-pager"]),
        ("--output yaml --cli-binary-format raw-in-base64-out", ["--cli-binary-format", "--output"]),
        ("--output yaml-stream --cli-error-format=json", ["--cli-error-format", "--output"]),
        ("--no-cli-auto-prompt --no-verify-ssl", ["--no-cli-auto-prompt", "--no-verify-ssl"]),
        ("--endpoint-url https://x.example.com:8443/emr --ca-bundle none.pem", ["--ca-bundle", "--endpoint-url"]),
        ("--color off --cli-read-timeout 0 --no-paginate", ["--cli-read-timeout", "--color", "--no-paginate"]),
    ],
)
def test_options_without_an_effect_are_reported_at_any_position(options: str, ignored: list[str]) -> None:
    name, *subcommand = [*START.split(), *ALONE.split()]
    first = run_job_flow_of([name, *options.split(), *subcommand])
    last = run_job_flow_of([name, *subcommand, *options.split()])
    assert sorted(first.ignored) == sorted(last.ignored) == ignored
    assert first.request == last.request == request_of_the_least()


@functools.cache
def request_of_the_least() -> dict[str, Any]:
    return run_job_flow_of([*START.split(), *ALONE.split()]).request


@pytest.mark.new_python
def test_without_the_aws_cli_the_error_names_what_to_install(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    with pytest.raises(UsageError, match=r"pip install 'airflow-eip-provider\[import\]', or name"):
        run_job_flow_of(["aws", "emr"], python=str(tmp_path / "venv/bin/python"))
    with pytest.raises(UsageError, match="name another with --python"):
        run_job_flow_of(["aws", "emr"], python=str(tmp_path / "none"))
