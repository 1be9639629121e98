"""The example of docs/azure.md works as it stands there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "azure.md"


def test_the_address_is_registered_then_shown_then_used():
    pytest.importorskip("airflow.sdk")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    dag = names["register"].dag
    for earlier, later in itertools.pairwise(["register", "azure.create", "azure.probe_egress", "azure.steps"]):
        assert earlier in dag.get_task(later).upstream_task_ids
