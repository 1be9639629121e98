"""A small soak, like `make soak ARGS="--runs 12"`; it takes some minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.airflow
def test_a_small_soak_passes():
    ran = subprocess.run(
        [sys.executable, "-m", "tests.verification.soak", "--runs", "12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2400,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.rstrip().endswith("PASS")
