"""The README is true: its tables are the code's, and its examples run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import botocore
import pytest

from api_tables import README, control_routes, emr_absent, written

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = README.read_text(encoding="utf-8")
URL = "http://127.0.0.1:5055"
PINS = Path(__file__).resolve().parents[2] / "requirements" / "dev.txt"
ABSENT = re.compile(r"^Not there, .*$", re.MULTILINE)


def examples(section: str, language: str) -> list[str]:
    (part,) = re.findall(rf"^## {section}\n(.*?)^## ", TEXT, flags=re.DOTALL | re.MULTILINE)
    return re.findall(rf"```{language}\n(.*?)```", part, flags=re.DOTALL)


def run(*command: object, env: dict[str, str] | None = None) -> str:
    words = [str(word) for word in command]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server as the README starts it, only quicker."""
    arguments = [sys.executable, "-m", "local_emr", "--port", "0", "--time-scale", "600"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found
        yield found[0]
        process.terminate()


def test_the_tables_are_the_codes(local_emr):
    """``python local_emr/tests/api_tables.py`` writes them anew."""
    assert ABSENT.sub("", written(TEXT, local_emr)) == ABSENT.sub("", TEXT)


def test_what_is_not_there_is_named(local_emr):
    if f"\nbotocore=={botocore.__version__}\n" not in PINS.read_text(encoding="utf-8"):
        pytest.skip("the list is that of the pinned botocore")
    assert set(re.findall(r"`(\w+)`", ABSENT.search(TEXT)[0])) - {"NotSimulated"} == emr_absent(local_emr)


def test_every_route_of_the_control_api_is_documented(local_emr):
    assert set(re.findall(r"^\| `([A-Z]+ /[^`]+)` \|", TEXT, re.MULTILINE)) == control_routes(local_emr)


def test_the_example_for_boto3_runs(url):
    [code] = examples("boto3", "python")
    run(sys.executable, "-c", code.replace(URL, url))


def test_the_example_for_the_aws_cli_runs(url):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if shutil.which("aws", path=path) is None:
        pytest.skip("there is no AWS CLI")
    [script] = examples("AWS CLI", "bash")
    said = run("bash", "-euc", script.replace(URL, url), env={"PATH": path})
    assert re.search(r'"StepIds".*"(STARTING|BOOTSTRAPPING|RUNNING|WAITING)"', said, re.DOTALL)


def test_the_examples_for_pytest_run_with_nothing_but_the_plugin(tmp_path):
    first, conftest, second = examples("pytest", "python")
    (tmp_path / "test_real.py").write_text(first)
    (tmp_path / "by_hand").mkdir()
    (tmp_path / "by_hand" / "conftest.py").write_text(conftest)
    (tmp_path / "by_hand" / "test_by_hand.py").write_text(second)
    pytest_alone = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]

    assert "2 passed" in run(*pytest_alone, "--rootdir", tmp_path, tmp_path / "test_real.py")
    assert "1 passed" in run(*pytest_alone, "--rootdir", tmp_path, tmp_path / "by_hand")


def test_the_plugin_hardly_slows_a_run_that_does_not_use_it():
    """Every run of pytest imports it."""
    code = "import sys, local_emr.pytest_plugin; print(sorted({'moto', 'boto3', 'duckdb', 'flask'} & set(sys.modules)))"
    assert run(sys.executable, "-c", code).strip() == "[]"
