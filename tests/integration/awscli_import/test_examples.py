"""Every create-cluster command in the AWS CLI's own help: what it sends, or why it is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider.awscli_import.aws_cli import run_job_flow_of
from airflow_eip_provider.awscli_import.shell import arguments_of
from airflow_eip_provider.exceptions import UsageError
from tests.unit.awscli_import.reference import AwsCli

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed")

REGION = "eu-west-1"
SCRIPT = """\
exec 9>&1 1>/dev/null
aws() { printf '%s\\0' "$@" >&9; printf '\\n\\0' >&9; }
"""
# A shell ends the command where a backslash is missing at the end of a line; what follows cannot be run.
LOST_BACKSLASH = re.compile(r"line \d+: the command ends with line \d+, and '--[a-z-]+ .* would be a separate command")
# Why the AWS CLI refuses an example: a part of its text, and of the error.
REFUSED = {
    "--configurations https://": "Unable to retrieve https://s3.amazonaws.com/",
    "--configurations file://configurations.json": "Invalid type for parameter Configurations",
    "file://ec2_attributes.json": "Invalid JSON",
    "file://kerberos_attributes.json": "Invalid JSON",
    "ActionOnFailure=CONTINUE,ActionOnFailure=TERMINATE_CLUSTER": "Second instance of key",
    "m4.largeInstanceGroupType=CORE": "Second instance of key",
}


@dataclass(frozen=True)
class Example:
    """A command of the help text."""

    number: int
    text: str


def help_text() -> str:
    spec = find_spec("awscli")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "examples/emr/create-cluster-examples.rst").read_text("utf-8")


def examples() -> list[Example]:
    if find_spec("awscli") is None:
        return []
    blocks = re.findall(r"::\n\n((?: {4}.*\n|\n)+)", help_text() + "\n")
    texts = [textwrap.dedent(block).strip() + "\n" for block in blocks]
    return [Example(number, text) for number, text in enumerate(filter(is_command, texts), 1)]


def is_command(text: str) -> bool:
    return text.startswith("aws emr create-cluster")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the JSON files that the examples name, as the help shows them."""
    folder = tmp_path_factory.mktemp("examples")
    shown = re.findall(r"[Cc]ontents of ``(?:\./)?([\w.-]+)``[^\n]*::\n\n((?: {4}.*\n|\n)+)", help_text())
    for name, block in shown:
        for directory in (folder, folder / "myfolder"):
            directory.mkdir(exist_ok=True)
            (directory / name).write_text(textwrap.dedent(block))
    return folder


@pytest.fixture(scope="module")
def aws_cli(folder: Path) -> Iterator[AwsCli]:
    cli = AwsCli(folder, region=REGION)
    yield cli
    cli.close()


def words_of_shell(text: str, folder: Path) -> list[list[str]]:
    """Return the words of each command "aws" that a shell runs."""
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", SCRIPT + text], cwd=folder, env={"PATH": ""}, capture_output=True, check=False
    )
    return [call.split("\0")[:-1] for call in done.stdout.decode().split("\n\0")[:-1]]


def test_the_help_has_all_known_examples() -> None:
    assert len(examples()) == help_text().count("aws emr create-cluster") == 42


def outcome(example: Example, folder: Path, aws_cli: AwsCli) -> str:
    """Import an example, and compare it with what the AWS CLI does; return what became of it."""
    (words,) = words_of_shell(example.text, folder)
    if re.search(r"(?<!\\)\n(?=.)", example.text):
        with pytest.raises(UsageError, match=LOST_BACKSLASH):
            arguments_of(example.text)
        return "a backslash is missing"
    arguments = arguments_of(example.text)
    assert arguments == ["aws", *words]
    expected, imported = aws_cli.ask(words), aws_cli.ask(words, of="ours")
    assert json.dumps(imported["request"]) == json.dumps(expected["request"])
    if expected["request"] is not None:
        return "equal"
    (part,) = [part for named, part in REFUSED.items() if named in example.text]
    assert part in " ".join(expected["said"].split())
    with pytest.raises(UsageError, match=part):
        run_job_flow_of(arguments)
    return "refused, as by the AWS CLI"


def test_every_example_is_imported_as_the_aws_cli_sends_it_or_refused_for_its_reason(
    folder: Path, aws_cli: AwsCli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    outcomes = Counter(outcome(example, folder, aws_cli) for example in examples())
    with capsys.disabled():
        print(f"\n{outcomes.total()} examples of the AWS CLI's help: {dict(outcomes)}")  # noqa: T201
    assert outcomes.total() == len(examples())


def test_options_of_the_aws_cli_alone_change_nothing(aws_cli: AwsCli) -> None:
    least = ["emr", "create-cluster", "--release-label", "emr-7.5.0", "--instance-type", "m5.xlarge"]
    expected = aws_cli.ask(least)["request"]
    assert expected is not None
    of_version_2 = ["--no-cli-pager", "--output", "yaml", "--cli-binary-format", "raw-in-base64-out"]
    assert aws_cli.ask([*least, *of_version_2], of="ours")["request"] == expected
