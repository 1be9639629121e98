"""Completion in a shell, by the protocol of argcomplete for bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_eip_provider.cli import __main__ as console_script


def completed(line: str, folder: Path) -> list[str]:
    """Ask for completions as bash does, with the answer in a file."""
    answer = folder / "answer"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    subprocess.run(
        [sys.executable, "-c", "from airflow_eip_provider.cli.__main__ import main; main()"],
        env={**os.environ, **asked, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return [word.strip() for word in answer.read_text(encoding="utf-8").split("\n")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("airflow-eip re", ["reap", "release"]),
        ("airflow-eip doctor --bind", ["--binding", "--bind-at"]),
        ("airflow-eip doctor --binding n", ["nat-gateway"]),
        ("airflow-eip status --parameters par", ["parametersValues.json"]),
        ("airflow-eip status --allocation-id par", [""]),
    ],
)
def test_commands_options_choices_and_files_are_completed(tmp_path, line, expected):
    (tmp_path / "parametersValues.json").touch()
    assert sorted(completed(line, tmp_path)) == sorted(expected)


def test_the_shell_finds_out_that_the_command_completes():
    """Global completion searches the start of a script for this marker."""
    assert "PYTHON_ARGCOMPLETE_OK" in Path(console_script.__file__).read_text(encoding="utf-8")[:1024]


def test_completing_imports_neither_airflow_nor_an_sdk(tmp_path):
    code = (
        "import sys; from airflow_eip_provider.cli.parsers import make_parser; make_parser(); "
        "print([name for name in ('airflow', 'boto3', 'botocore') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
