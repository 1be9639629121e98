"""The example of docs/azure.md works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "azure.md"


def test_the_address_is_registered_then_shown_then_used():
    pytest.importorskip("airflow.sdk")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    dag = names["register"].dag
    assert dag.get_task("azure.steps").upstream_task_ids == {"azure.probe_egress"}
    assert "azure.bound" in dag.get_task("azure.probe_egress").upstream_task_ids
    assert dag.get_task("azure.create").upstream_task_ids == {"register"}
