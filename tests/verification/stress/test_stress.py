"""A small stress test with each store, some ten seconds each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("store", "periods"), [("dynamodb", 5), ("s3", 2)])
def test_a_small_stress_test_passes(store, periods):
    size = ("--processes", "4", "--periods", str(periods), "--store", store)
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
