"""
Start docker-compose.yaml with a real engine and run the example DAGs in it: ``python -m tests.verification.compose``.

Its exit code is 0 if every check passes. It is also 0, with a line that begins with SKIPPED, if this machine has no
container engine and cannot start one.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import httpx

from demo.aws import AwsError
from harness.console import Console, table
from harness.processes import ProcessError, interrupt_on_sigterm
from tests.verification.compose.engine import EngineError, NoEngineError, base_images, engine
from tests.verification.compose.scenario import Scenario
from tests.verification.compose.stack import Stack, StackError


def run(environment: dict[str, str], *, console: Console) -> list[tuple[str, str, str]]:
    """Run the scenario on an engine, remove what it started, and return the rows of the report."""
    environment |= base_images(environment, console=console)
    with tempfile.TemporaryDirectory(prefix="compose-test-") as folder:
        (project := Path(folder, "project")).mkdir()
        (results := Path(folder, "results")).mkdir()
        stack = Stack(environment, folder=project)
        scenario = Scenario(stack, results=results, console=console)
        try:
            scenario.run()
        except BaseException:
            with contextlib.suppress(StackError):  # the first error is the one to report
                stack.down("--volumes")
            raise
        return [(check.name, check.verdict, check.detail) for check in scenario.checks]


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m tests.verification.compose", description=__doc__).parse_args(arguments)
    console = Console(sys.stdout)
    try:
        with engine() as environment:
            rows = run(environment, console=console)
    except NoEngineError as error:
        console.lines(f"SKIPPED: {error}")
        return 0
    except KeyboardInterrupt:
        console.lines("", "Interrupted.")
        return 1
    except (EngineError, StackError, ProcessError, AwsError, httpx.HTTPError) as error:
        console.lines("", f"The test stopped: {error}", "", "FAIL")
        return 1
    failed = [name for name, verdict, _ in rows if verdict != "PASS"]
    console.lines("", *table(rows, header=("check", "", "found")), "")
    passed = f"all {len(rows)} checks PASS, after {console.elapsed_seconds:.0f} s"
    console.lines(f"FAIL: {', '.join(failed)}" if failed else passed)
    return 1 if failed else 0


if __name__ == "__main__":
    interrupt_on_sigterm()  # so that everything is removed if the test is ended early
    sys.exit(main())
