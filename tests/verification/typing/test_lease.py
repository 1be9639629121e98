"""mypy finds wrong uses of the lease protocol."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
USES = Path(__file__).with_name("lease.py")


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_tells_every_wrong_use_of_the_lease_protocol_and_no_right_one():
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(USES)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert checked.returncode == 0, checked.stdout
