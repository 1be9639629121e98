"""A small run of the stress test with each store, as `make stress` would do it; some ten seconds each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("store", "sessions"), [("dynamodb", 5), ("s3", 2)])
def test_a_small_run_breaks_nothing(store, sessions):
    size = ("--processes", "4", "--periods", str(sessions), "--store", store)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.verification.stress", *size],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.rstrip().endswith("PASS")
