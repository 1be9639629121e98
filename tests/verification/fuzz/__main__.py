"""
Run the tests of this folder in rounds, each with another seed, for some minutes.

    python -m tests.verification.fuzz --minutes 10 [arguments of pytest]

It ends after the round in which the time is over, or after the first round that fails; hypothesis then shows the
smallest input that fails.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import pytest


def main() -> int:
    """Run rounds until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="start no round after this (default: %(default)s)")
    options, others = parser.parse_known_args()
    end = time.monotonic() + options.minutes * 60
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        seed = random.SystemRandom().randrange(2**32)
        rounds += 1
        print(f"round {rounds}, --hypothesis-seed {seed}", flush=True)  # noqa: T201
        arguments = ["--quiet", "--hypothesis-profile=long", f"--hypothesis-seed={seed}"]
        # pytest removes older folders of the same base, even those of a run that is still active.
        with tempfile.TemporaryDirectory() as folder:
            status = pytest.main([str(Path(__file__).parent), *arguments, f"--basetemp={folder}/round", *others])
        if status:
            return int(status)
    print(f"{rounds} rounds, no failure")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
