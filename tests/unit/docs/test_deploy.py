"""deploy/README.md: what it names is there, as seen from the root of the repository."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_templates_and_modules_are_where_the_page_says() -> None:
    text = (ROOT / "deploy/README.md").read_text("utf-8")
    named = re.findall(r'--template-file (\S+)|source\s*= "(\S+)"', text)
    assert len(named) == 8
    assert [path for pair in named for path in pair if path and not (ROOT / path).exists()] == []
