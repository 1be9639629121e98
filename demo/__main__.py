"""Run the demo: ``python -m demo [--all] [--keep]``; its exit code is 0 when every check passes."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from harness.console import Console

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
    parser.add_argument("--state", type=Path, default=ROOT / ".demo", help="the working directory; it is emptied first")
    parser.add_argument("--airflow-port", type=int, help="default: any free port")
    parser.add_argument("--aws-port", type=int, help="default: any free port")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    options = parse(arguments)
    options.state = options.state.resolve()
    console = Console()
    console.step("starting; the timeline, the checks and the locations of logs are printed at the end")
    # Imported after the first line, because it takes seconds.
    from demo.aws import AwsError  # noqa: PLC0415
    from demo.whole import Demo, report  # noqa: PLC0415
    from harness.processes import ProcessError, children_of_command, left_running  # noqa: PLC0415

    if left := left_running(options.state):
        names = ", ".join(f"{name} ({pid})" for name, pid in left)
        end = " ".join(str(pid) for _, pid in left)
        console.lines(f"The demo cannot start: processes of an earlier one still run: {names}; end them: kill {end}")
        return 2
    shutil.rmtree(options.state, ignore_errors=True)
    options.state.mkdir(parents=True)
    passed = False
    with children_of_command(options.state) as children:
        try:
            demo = Demo(console=console, children=children, options=options)
            demo.set_up()
            passed = report(console, demo.run())
            demo.print_locations(kept=options.keep)
            if options.keep:
                demo.wait_for_interrupt()
        except (ProcessError, AwsError) as error:
            console.lines("", f"The demo stopped: {error}")
        except KeyboardInterrupt:
            console.lines("", "Interrupted.")
        finally:
            console.step("stopping everything")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
