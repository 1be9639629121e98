from __future__ import annotations

from tests.unit.demo.conftest import log

__all__ = ["log"]
