"""A small stress test with each store, and one with pools of addresses; some ten seconds each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "size",
    [
        "--processes 4 --periods 5 --store dynamodb",
        "--processes 4 --periods 2 --store s3",
        "--processes 6 --periods 4 --store dynamodb --addresses 3",
    ],
)
def test_a_small_stress_test_passes(size):
    ran = subprocess.run(
        [sys.executable, "-m", "tests.verification.stress", *size.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.rstrip().endswith("PASS")
