"""
Draw the timeline that the demo prints, as a picture for README and site.

    make demo ALL=1 | tee demo.txt; python docs/draw_timeline.py demo.txt > docs/images/timeline.svg
"""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

_MEANINGS = {
    ".": "waits for the address",
    "-": "cluster starts",
    "=": "has the address",
    "#": "step runs with it",
    "~": "cluster ends",
}
_COLOURS = {".": "#d0d7de", "-": "#f2cc60", "=": "#6cb6ff", "#": "#1f6feb", "~": "#c9b8e8"}
_WIDTH, _LEFT, _LANE, _TOP = 880, 210, 34, 26
_FONT = "font-family='system-ui, sans-serif' font-size='13' fill='#57606a'"


def main() -> None:
    """Read the demo's output and write the picture."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    lanes = re.findall(r"^(\w+) +\|([ .=#~-]{40,})\|$", text, re.MULTILINE)
    ((first, last),) = re.findall(r"^ +(\d+:\d\d) +(\d+:\d\d)$", text, re.MULTILINE)
    scale = (_WIDTH - _LEFT - 10) / len(lanes[0][1])
    bottom = _TOP + _LANE * len(lanes)
    drawn = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {bottom + 36}' role='img'>"]
    drawn += [f"<rect width='{_WIDTH}' height='{bottom + 36}' rx='6' fill='#ffffff'/>"]
    drawn += [f"<text x='{_LEFT}' y='17' {_FONT}>{first}</text>"]
    drawn += [f"<text x='{_WIDTH - 10}' y='17' text-anchor='end' {_FONT}>{last} simulated minutes</text>"]
    for number, (name, cells) in enumerate(lanes):
        top = _TOP + number * _LANE
        drawn.append(f"<text x='{_LEFT - 12}' y='{top + 18}' text-anchor='end' {_FONT}>{escape(name)}</text>")
        column = 0
        for sign, run in groupby(cells):
            length = len(list(run))
            if sign in _COLOURS:
                place = f"x='{_LEFT + column * scale:.1f}' y='{top + 4}' width='{length * scale:.1f}' height='20'"
                drawn.append(f"<rect {place} fill='{_COLOURS[sign]}'/>")
            column += length
    for number, (sign, meaning) in enumerate(_MEANINGS.items()):
        left = 12 + number * 172
        drawn.append(f"<rect x='{left}' y='{bottom + 10}' width='13' height='13' fill='{_COLOURS[sign]}'/>")
        drawn.append(f"<text x='{left + 19}' y='{bottom + 21}' {_FONT}>{meaning}</text>")
    print("\n".join([*drawn, "</svg>"]))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
