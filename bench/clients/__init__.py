"""Measures other lock clients on DynamoDB and S3 in scenarios of an Elastic IP: ``python -m bench.clients``."""

from __future__ import annotations

from bench.clients.figures import ClientConfig, Figures, Overlap
from bench.clients.scenarios import measure
from bench.tables import HEADER, NOTES, row

__all__ = ["HEADER", "NOTES", "ClientConfig", "Figures", "Overlap", "measure", "rows"]


def rows() -> list[tuple[str, ...]]:
    """Measure, and return a row under ``HEADER`` for each client."""
    return [row(figures) for figures in measure()]
