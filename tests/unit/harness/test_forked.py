"""A command of a Python that is forked is as one of a Python that is started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.forked import ForkedPython, forked_python

if TYPE_CHECKING:
    from collections.abc import Iterator

PREPARATION = "import os, json; os.environ['SET_BY_AN_IMPORT'] = 'yes'"
SCRIPT = """
import json, os, sys
seen = [sys.argv, os.environ.get("NAME"), os.environ.get("LEFT_OUT"), os.environ["SET_BY_AN_IMPORT"], os.getcwd()]
print(json.dumps([*seen, __name__, sys.path[0]]))
print("a warning", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedPython]:
    with forked_python(PREPARATION, env={**os.environ, "LEFT_OUT": "of commands"}) as python:
        yield python


def test_it_has_its_own_arguments_environment_directory_streams_and_status(forked, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "work").mkdir()
    env = {"NAME": "given", "SET_BY_AN_IMPORT": "yes"}
    done = forked.run(script, "one", "two words", env=env, cwd=tmp_path / "work")
    started = subprocess.run(
        [sys.executable, script, "one", "two words"], env=env, cwd=tmp_path / "work", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (7, started.stdout, "a warning\n")
    assert '"given", null, "yes"' in done.stdout


def test_what_one_command_does_another_does_not_see(forked, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import json; print(getattr(json, 'left', 'nothing')); json.left = 'something'")
    assert [forked.run(script, env={}).stdout for _ in range(2)] == ["nothing\n"] * 2


def test_an_error_and_a_signal_end_it_as_any_python(forked, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise ValueError('of the script')")
    failed = forked.run(script, env={})
    assert failed.returncode == 1
    assert "ValueError: of the script" in failed.stderr
    script.write_text("import os; os.kill(os.getpid(), 15)")
    assert forked.run(script, env={}).returncode == -signal.SIGTERM


def test_a_program_reads_its_input_and_ends_with_its_client(forked, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time; print(input(), flush=True); time.sleep(600)")
    forked.program(tmp_path / "program", script)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([tmp_path / "program"], text=True, **pipes) as client:
        client.stdin.write("said\n")
        client.stdin.flush()
        assert client.stdout.readline() == "said\n"
        client.kill()
        # The output ends when the command, which has it as well, is gone.
        assert select.select([client.stdout], [], [], 60)[0]
        assert client.stdout.read() == ""
