"""A command in a file, read as a shell reads it."""

from __future__ import annotations

import re
import shlex

from airflow_eip_provider.exceptions import UsageError

# The parts of a shell's text that differ in what a backslash, a quote and a dollar sign mean in them.
_PARTS = re.compile(
    r"""(?P<comment>(?<!\S)\#[^\n]*)
      | (?P<single>'[^']*')
      | (?P<double>"(?:\\.|[^"\\])*")
      | (?P<escaped>\\\r?\n|\\.)
      | (?P<plain>[^'"\\\s]+|\s+|.)""",
    re.VERBOSE | re.DOTALL,
)
# In double quotes shlex knows two of the four characters that a backslash escapes.
_ESCAPED = re.compile(r"\\(?:(?P<unknown>[$`])|.)", re.DOTALL)
# What ends a shell's command where one meant to continue it.
_BLANK_AFTER_BACKSLASH = re.compile(r"\\[ \t]+\r?\n")
_CONTINUATION = re.compile(r"\\\r?\n")
_EXPANSION = re.compile(r"(?:\\.)|(?P<found>\$(?:[A-Za-z_]\w*|\{[^}]*\}?|\([^)]*\)?|[0-9@*#?])|`[^`]*`?)", re.DOTALL)


def arguments_of(text: str) -> list[str]:
    """
    Return the words of a command: quotes, comments and line continuations are a shell's; a line break is a blank.

    :raises UsageError: for an open quote, a blank between a backslash and the end of its line, and what a shell would
        put a value in for: ``$NAME``, `` `…` ``.
    """
    parts = []
    for part in _PARTS.finditer(text):
        kind, found = str(part.lastgroup), part[0]
        if kind == "escaped" and _BLANK_AFTER_BACKSLASH.match(text, part.start()):
            line = text.count("\n", 0, part.start()) + 1
            problem = f"a blank follows the backslash at the end of line {line}, which so continues nothing"
            raise UsageError("reading the command", problem=problem, remedy="let the line end with the backslash")
        if kind in {"double", "plain"}:
            _refuse_expansions(found)
        if kind in {"double", "escaped"}:
            found = _CONTINUATION.sub("", found)
        if kind == "double":
            found = _ESCAPED.sub(lambda escaped: escaped["unknown"] or escaped[0], found)
        parts.append("" if kind == "comment" else found)
    try:
        return shlex.split("".join(parts))
    except ValueError as error:
        raise UsageError("reading the command", problem=f"{error}", remedy="quote it as for a shell") from error


def _refuse_expansions(text: str) -> None:
    for part in _EXPANSION.finditer(text):
        if part["found"]:
            raise UsageError(
                "reading the command",
                problem=f"a shell would put a value in for {part['found']}",
                remedy="write the value, or let your shell do it: give the command after -- instead",
            )
