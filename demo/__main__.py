"""Run the demo: ``python -m demo [--all] [--keep]``; its exit code is 0 when every check passes."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console import Console

if TYPE_CHECKING:
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--all",
        action="store_true",
        help="every scenario: a killed task, three nodes, a NAT gateway, an empty zone, a failover",
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards, until Ctrl-C")
    parser.add_argument("--time-scale", type=float, default=6.0, help="simulated seconds a real second (%(default)s)")
    parser.add_argument("--state", type=Path, default=ROOT / ".demo", help="a directory of its own; emptied first")
    parser.add_argument("--airflow-port", type=int, help="default: any free port")
    parser.add_argument("--aws-port", type=int, help="default: any free port")
    return parser.parse_args(arguments)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = parse(arguments)
    options.state = options.state.resolve()
    console = Console()
    console.step("starting; the timeline, the checks and where to look come at the end")
    signal.signal(signal.SIGTERM, _interrupt)
    # What takes seconds to import comes after the first line.
    from demo.aws import AwsError  # noqa: PLC0415
    from demo.whole import Demo, report  # noqa: PLC0415
    from harness.airflow import LOCAL_ONLY  # noqa: PLC0415
    from harness.processes import Children, ProcessError, left_running  # noqa: PLC0415

    os.environ.update(LOCAL_ONLY)
    if left := left_running(options.state):
        names = ", ".join(f"{name} ({pid})" for name, pid in left)
        end = " ".join(str(pid) for _, pid in left)
        console.lines(f"The demo cannot start: processes of an earlier one still run: {names}; end them: kill {end}")
        return 2
    shutil.rmtree(options.state, ignore_errors=True)
    options.state.mkdir(parents=True)
    children = Children(directory=options.state)
    passed = False
    try:
        demo = Demo(console=console, children=children, options=options)
        demo.set_up()
        passed = report(console, demo.run())
        demo.say_where(kept=options.keep)
        if options.keep:
            demo.stay()
    except (ProcessError, AwsError) as error:
        console.lines("", f"The demo stopped: {error}")
    except KeyboardInterrupt:
        console.lines("", "Interrupted.")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        console.step("stopping everything")
        children.stop()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
