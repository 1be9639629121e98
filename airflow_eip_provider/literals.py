"""Strings that contain a literal or a template."""

from __future__ import annotations

import ast
import json
import re

_TEMPLATE = re.compile(r"\{\{|\{%|\{#")


def parse_literal(value: object) -> object:
    """Parse a string as JSON or as a Python literal; return any other value as it is."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return value


def is_template(text: str) -> bool:
    """Whether a string contains Jinja syntax."""
    return _TEMPLATE.search(text) is not None
