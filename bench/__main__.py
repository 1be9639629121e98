"""Measure and print: ``python -m bench clients|makespan|all``."""

from __future__ import annotations

import argparse

from bench import clients, makespan, ours, tables
from demo.console import Console


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for, and print it as tables."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=("clients", "makespan", "all"))
    what = parser.parse_args(arguments).what
    console = Console()
    if what in {"clients", "all"}:
        console.heading("Lock clients")
        console.lines(*tables.clients(clients.measure(), ours.measure()))
    if what in {"makespan", "all"}:
        console.heading("Makespan")
        console.lines(*tables.makespans(makespan.measure()))


if __name__ == "__main__":
    main()
