"""Measure the clients and print everything: ``python -m bench.clients``."""

from __future__ import annotations

from bench import clients, tables
from harness.console import Console, table

console = Console()
measured = clients.measure()
console.heading("Lock clients")
console.lines(*table([tables.row(figures) for figures in measured], header=clients.HEADER), "", *clients.NOTES)
console.heading("In detail")
console.lines(*tables.details(measured))
