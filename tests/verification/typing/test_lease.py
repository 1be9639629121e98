"""mypy finds wrong uses of the lease protocol."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
USES = Path(__file__).with_name("lease.py")


def test_mypy_tells_every_wrong_use_of_the_lease_protocol_and_no_right_one():
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(USES)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert checked.returncode == 0, checked.stdout
