"""Saves the result of each cell beside its environment, so that the matrix can be run in parts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.verification.matrix.cells import ROOT
from tests.verification.matrix.report import Row
from tests.verification.matrix.suites import Outcome

if TYPE_CHECKING:
    from tests.verification.matrix.cells import Cell

_RELEASED = ("pyproject.toml", "airflow_eip_provider", "local_emr/pyproject.toml", "local_emr/src")


def code_digest(root: Path = ROOT) -> str:
    """Return a digest of the released code, because a saved result is valid for that code only."""
    digest = hashlib.sha256()
    for top in _RELEASED:
        path = root / top
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def save(row: Row, folder: Path, *, of: str) -> None:
    """Save a cell's result, with the digest of the code."""
    outcomes = {
        name: outcome and {field.name: getattr(outcome, field.name) for field in fields(outcome)}
        for name, outcome in (("tests", row.tests), ("day", row.day))
    }
    known = {"code": of, "python": row.python, "airflow": row.airflow, "amazon": row.amazon, **outcomes}
    (folder / "row.json").write_text(json.dumps(known, default=str, indent=1), encoding="utf-8")


def load(cell: Cell, folder: Path, *, of: str) -> Row:
    """Return a cell's saved result; a skipped one if there is none for this code."""
    path = folder / "row.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if known.pop("code", None) != of:
        return Row(cell=cell, skipped="it was not run with this code")
    outcomes = {name: _outcome(known.pop(name)) for name in ("tests", "day")}
    return Row(cell=cell, **outcomes, **known)


def _outcome(known: dict[str, Any] | None) -> Outcome | None:
    if known is None:
        return None
    return Outcome(**{**known, "log": Path(known["log"]), "skipped": Counter(known["skipped"])})
