"""The pages that a reader sees: README, docs/ and what the site includes; their prose and their blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "deploy" / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]
_FENCE = re.compile(
    r"^(?P<before>[^\n]*)\n\n?(?P<indent> *)```(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
_FRAGMENT = re.compile(r"<!-- fragment: (\S.*) -->")


@dataclass(frozen=True)
class Block:
    """
    One block of code.

    :param fragment: why it does not run by itself; ``None`` for one that does.
    """

    page: str
    number: int
    language: str
    code: str
    fragment: str | None

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found = []
    for number, match in enumerate(_FENCE.finditer("\n\n" + page.read_text(encoding="utf-8")), start=1):
        indent = match["indent"]
        code = "".join(line.removeprefix(indent) for line in match["code"].splitlines(keepends=True))
        said = _FRAGMENT.fullmatch(match["before"].strip())
        found.append(
            Block(str(page.relative_to(ROOT)), number, match["language"].strip(), code, said and said[1])  # type: ignore[arg-type]
        )
    return found


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
