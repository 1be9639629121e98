"""Other lock clients on DynamoDB and S3 in the situations of an Elastic IP: ``python -m bench.clients``."""

from __future__ import annotations

from bench.clients.figures import Figures, HeldTwice, Subject
from bench.clients.scenarios import measure
from bench.tables import HEADER, NOTES, row

__all__ = ["HEADER", "NOTES", "Figures", "HeldTwice", "Subject", "measure", "rows"]


def rows() -> list[tuple[str, ...]]:
    """Measure, and return a row under ``HEADER`` for each client."""
    return [row(figures) for figures in measure()]
