"""Standard output that is closed, full, or not read to its end."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A command that prints little, which is written at its end, or much, and has the exit status 3.
SCRIPT = """
import argparse, sys
from airflow_eip_provider.cli.command import Command
from airflow_eip_provider.cli.commands import execute

def run(options):
    print("x" * int(sys.argv[1]))
    return 3

sys.exit(execute(Command("x", "", "", lambda parser: None, run, ""), argparse.Namespace()))
"""


def shell(redirection: str, *, size: int) -> tuple[int, str]:
    command = f'env -u PYTHONUNBUFFERED "$0" -c "$1" {size} {redirection}; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command, sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1]), done.stderr


@pytest.mark.parametrize(("size", "status"), [(10, 3), (1_000_000, 141)])
def test_a_reader_that_stops_ends_the_command_quietly(size, status):
    assert shell("| true", size=size) == (status, "")


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_disk_is_one_line(size):
    assert shell("> /dev/full", size=size) == (1, "error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_closed_output_is_no_error(size):
    assert shell(">&-", size=size) == (3, "")
