"""A stream that says it is a terminal."""

from __future__ import annotations

import io
import re

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """Keeps what is written to it, with and without escape sequences."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Return ``True``."""
        return True

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return ESCAPES.sub("", self.getvalue())

    @property
    def lines(self) -> list[str]:
        """The lines of that, without trailing spaces."""
        return [line.rstrip() for line in self.text.splitlines()]
