r"""
The tokens of a shell command: POSIX's rules for quoting and token recognition, and bash's expansions.

It runs nothing and expands nothing. A word that a shell would expand has a ``fault``; it is an error only in a command
that is not left out. ``tests/verification/fuzz/test_shell.py`` compares this module with bash on generated text.

A grammar library cannot replace it: the value of each word is needed, and whether a shell would expand the word.
tree-sitter-bash reads ``on\⏎ce`` as two words, and a backslash before a blank as a line continuation. shfmt's syntax
tree does not include quote removal or tilde, brace and file name expansion. The licence of bashlex does not fit. None
of them knows a ``<PLACEHOLDER>`` or the line ends of cmd.exe and PowerShell.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# id=$(aws …) at the start of a command: the shell runs the command in it.
_CAPTURE = re.compile(
    r"(?:(?:export|local|readonly|declare|typeset)[ \t]+)?[A-Za-z_]\w*="
    r"""(?P<quote>"?)(?P<opened>\$\(|`)(?=(?:\s|\\\n)*(?:[\w./~-]*/)?aws\s)"""
)
# The kinds of text outside quotes, in the order in which they are tried.
_CASES = {
    # The shell removes both characters, and the line continues.
    "continuation": r"\\\n",
    "cmd_continuation": r"\^[ \t]*\n(?=\s*\S)",
    "powershell_continuation": r"`[ \t]*\n(?=\s*\S)",
    # The backslash quotes the blank, and the line ends.
    "blank_after_backslash": r"\\[ \t]+(?=\n|\Z)",
    "backslash_at_end": r"\\\Z",
    "newline": r"\n",
    "blank": r"[ \t]+",
    "comment": r"\#[^\n]*",
    "escaped": r"\\.",
    "single": r"'[^']*'",
    "double": r'"(?:\\.|[^"\\])*"',
    "open_quote": r"['\"]",
    "dollar_quote": r"\$(?:'(?:\\.|[^'\\])*'|(?=\"))",
    "expansion": r"\$(?:[A-Za-z_]\w*|[0-9@*\#?$!-]|[{(\[])|`",
    "placeholder": r"<[A-Za-z](?:[\w .:/-]*\w)?>",
    "redirection": r"(?:[0-9]+|\{[A-Za-z_]\w*\})?(?:&>>?|<<[<-]?|<[>&(]?|>[>&|(]?)",
    "operator": r"\|\||\|&|&&|;;|[|&;()]",
    # One digit at a time: the rest may be the number of a redirection only at the start of a word.
    "plain": r"[^\s\\'\"$`<>|&;()^{]+|.",
}
_CASE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _CASES.items()), re.DOTALL)
_TOKENS = {"newline", "redirection", "operator", "captured"}
_BETWEEN_WORDS = _TOKENS | {"blank"}
_ENDS_COMMAND = {"newline", "operator", "captured"}
_NOTHING = {"blank", "comment", "continuation"}
_IN_DOUBLE_QUOTES = re.compile(
    r"(?P<continuation>\\\n)|\\(?P<escaped>[$`\"\\])|(?P<expansion>\$(?:[A-Za-z_]\w*|[0-9@*#?$!-]|[{(\[])|`)|.",
    re.DOTALL,
)
_CLOSING = {"(": ")", "{": "}", "[": "]", "`": "`"}
_SKIPPED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)
_TILDE = re.compile(r"~|[A-Za-z_]\w*\+?=(?:.*:)?~")
_SEQUENCE = re.compile(r"[^{},]+\.\.[^{},]+")
_QUOTED = "\0"  # in a mask: a quoted character
_LONGEST_SHOWN = 60

_QUOTE_IT = "put it in single quotes if it is meant literally"
_GIVE_IT_ALONE = "give only the create-cluster command in it, without the text around it"
_WRITE_THE_VALUE = "write the value, or let your shell do it: give the command after -- instead"


@dataclass(frozen=True, slots=True)
class Token:
    """
    A word, an operator or the end of a line.

    :param kind: "word", "redirection", "operator", "newline", or "capture" and "captured" around ``id=$(aws …)``.
    :param text: the value of a word without its quotes, or the operator.
    :param start: the position of its first character.
    :param fault: for a word that a shell would expand, the error to raise.
    """

    kind: str
    text: str
    start: int
    end: int
    fault: UsageError | None = None


@dataclass(slots=True)
class _Word:
    """
    A word under construction.

    :param mask: the value, in which each quoted character is replaced by a marker.
    """

    start: int
    value: str = ""
    mask: str = ""
    fault: UsageError | None = None

    def add(self, text: str, *, quoted: bool) -> None:
        self.value += text
        self.mask += _QUOTED * len(text) if quoted else text


class Lexer:
    """Splits a text into tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.word: _Word | None = None
        # Whether no word of the current command was read yet.
        self.between_commands = True
        # The end of the command substitution around the command: ")" or "`", with the quote that follows.
        self.closing = ""
        # Its position: text that follows without a blank belongs to the variable's value, even a "#".
        self.captured_until = -1

    def line(self, at: int) -> int:
        """Return the line number of a position."""
        return self.text.count("\n", 0, at) + 1

    def error(self, at: int, problem: str, remedy: str) -> UsageError:
        """Return an error about a position."""
        return UsageError("reading the command", problem=f"line {self.line(at)}: {problem}", remedy=remedy)

    def tokens(self) -> Iterator[Token]:
        """
        Split the text.

        :raises UsageError: for what ends the tokens: an open quote, a here-document, the line end of another shell.
        """
        while self.at < len(self.text):
            if capture := self._capture():
                yield capture
                continue
            kind, matched = self._case()
            if kind in _BETWEEN_WORDS:
                yield from self._finished()
            if kind in _ENDS_COMMAND:
                self.between_commands = True
            if kind in _TOKENS:
                yield self._operator(kind, matched)
            elif kind not in _NOTHING:
                self.word = self.word or _Word(self.at)
                self.between_commands = False
                getattr(self, f"_{kind}")(matched)  # a method for each other kind
            self.at += len(matched)
        yield from self._finished()
        if self.closing:
            raise self.error(len(self.text), f"{self.closing!r} is missing at the end", "close the $( or `")

    def _capture(self) -> Token | None:
        """Skip the start of a command substitution whose result is stored in a variable, if there is one here."""
        match = _CAPTURE.match(self.text, self.at) if self.between_commands and not self.closing else None
        if match is None:
            return None
        self.closing = (")" if match["opened"] == "$(" else "`") + match["quote"]
        self.at = match.end()
        return Token("capture", match[0], match.start(), match.end())

    def _case(self) -> tuple[str, str]:
        if self.closing and self.text.startswith(self.closing, self.at):
            closing, self.closing = self.closing, ""
            self.captured_until = self.at + len(closing)
            return "captured", closing
        match = _CASE.match(self.text, self.at)
        if match is None:  # unreachable: the last case takes any character
            raise self.error(self.at, "it cannot be read", _QUOTE_IT)
        kind, matched = str(match.lastgroup), match[0]
        if kind == "comment" and (self.word is not None or self.at == self.captured_until):
            return "plain", "#"
        if self.word is not None and kind == "redirection" and matched[0] not in "<>&":
            return "plain", matched[0]
        return kind, matched

    def _operator(self, kind: str, matched: str) -> Token:
        if "<<" in matched and "<<<" not in matched:
            problem, remedy = "a here-document follows '<<'", "save its text to a file, and give that as file://NAME"
            raise self.error(self.at, problem, remedy)
        if kind == "redirection" and matched.endswith("("):
            raise self.error(self.at, f"'{matched}' starts a process substitution", _QUOTE_IT)
        return Token(kind, matched, self.at, self.at + len(matched))

    def _finished(self) -> Iterator[Token]:
        """Yield the word that ends here, if there is one."""
        word, self.word = self.word, None
        if word is None:
            return
        fault = word.fault
        if fault is None and (problem := _expanded(word.value, word.mask)):
            written = shortened(self.text[word.start : self.at])
            fault = self.error(word.start, f"a shell would {problem} {written}", _QUOTE_IT)
        yield Token("word", word.value, word.start, self.at, fault)

    def _add(self, text: str, *, quoted: bool) -> None:
        if self.word is not None:
            self.word.add(text, quoted=quoted)

    def _blame(self, fault: UsageError) -> None:
        if self.word is not None and self.word.fault is None:
            self.word.fault = fault

    def _plain(self, matched: str) -> None:
        self._add(matched, quoted=False)

    def _escaped(self, matched: str) -> None:
        if self.closing.startswith("`"):
            self._blame(
                self.error(self.at, f"within `…` a shell interprets {matched} twice", "write $(…) instead of `…`")
            )
        self._add(matched[1:], quoted=True)

    def _single(self, matched: str) -> None:
        if self.closing.startswith("`") and "\\" in matched:
            self._escaped(matched[matched.index("\\") :][:2])
        self._add(matched[1:-1], quoted=True)

    def _double(self, matched: str) -> None:
        if self.closing.startswith("`") and re.search(r"\\[^\n]", matched):
            self._escaped(matched[matched.index("\\") :][:2])
        for part in _IN_DOUBLE_QUOTES.finditer(matched[1:-1]):
            if part["expansion"]:
                start = self.at + 1 + part.start()
                written = shortened(self.text[start : self._end_of_expansion(start, within=self.at + len(matched) - 1)])
                self._blame(self.error(start, f"a shell would substitute {written}", _WRITE_THE_VALUE))
            if not part["continuation"]:
                self._add(part["escaped"] or part[0], quoted=True)

    def _open_quote(self, matched: str) -> None:
        problem = f"the quote {matched} is never closed (No closing quotation)"
        raise self.error(self.at, problem, f"close it; in a value write \\{matched}")

    def _dollar_quote(self, matched: str) -> None:
        written = shortened(matched if len(matched) > 1 else '$"…"')
        self._blame(self.error(self.at, f"a shell would translate {written}", "write its text in single quotes"))

    def _expansion(self, matched: str) -> None:
        end = self._end_of_expansion(self.at)
        written = self.text[self.at : end]
        problem = f"a shell would substitute {shortened(written)}"
        remedy = _GIVE_IT_ALONE if "create-cluster" in written else _WRITE_THE_VALUE
        self._blame(self.error(self.at, problem, remedy))
        self._add(written, quoted=True)
        self.at = end - len(matched)

    def _end_of_expansion(self, start: int, *, within: int | None = None) -> int:
        """Return the end of the expansion that starts here."""
        end = len(self.text) if within is None else within
        match = re.compile(_CASES["expansion"]).match(self.text, start)
        opened = match[0][-1] if match else ""
        at = match.end() if match else start + 1
        if opened not in _CLOSING or (opened != "`" and match and match[0][0] != "$"):
            return at
        depth = 1
        while at < end and depth:
            part = _SKIPPED.match(self.text, at, end)
            taken = part[0] if part else self.text[at]
            if taken == _CLOSING[opened]:
                depth -= 1
            elif taken == opened:
                depth += 1
            at += len(taken)
        if depth and within is None:
            raise self.error(start, f"{match[0] if match else opened} is never closed", _QUOTE_IT)
        return at

    def _placeholder(self, matched: str) -> None:
        problem, remedy = f"{matched} is a placeholder", "replace it with your value, without < and >"
        self._blame(self.error(self.at, problem, remedy))
        self._add(matched, quoted=True)

    def _cmd_continuation(self, _matched: str) -> None:
        raise self._windows_error("^", "cmd.exe", "single quotes, % and ^")

    def _powershell_continuation(self, _matched: str) -> None:
        raise self._windows_error("`", "PowerShell", "double quotes, commas and @")

    def _windows_error(self, mark: str, shell: str, differing: str) -> UsageError:
        problem = f"it ends with {mark}, with which {shell} continues a line"
        remedy = (
            r"end each line with a backslash (\) instead, and quote values as for a POSIX shell; "
            f"{differing} have another meaning in {shell}"
        )
        return self.error(self.at, problem, remedy)

    def _blank_after_backslash(self, _matched: str) -> None:
        problem = "a blank follows the backslash at its end, so the line does not continue"
        raise self.error(self.at, problem, "end the line with the backslash")

    def _backslash_at_end(self, _matched: str) -> None:
        raise self.error(self.at, "the command ends with a backslash", "leave it out, or add the rest of the command")


def _expanded(value: str, mask: str) -> str:
    """Describe what a shell would do with a word other than removing its quotes; an empty string for nothing."""
    if _TILDE.match(mask):
        return "substitute a home directory for ~ in"
    if _has_braces(mask):
        return "make several words of"
    if any(mark in mask for mark in "*?[") and _names_files(value, mask):
        return "substitute the names of files in this folder for"
    return ""


def _has_braces(mask: str) -> bool:
    """
    Return whether bash makes several words of it: ``{a,b}``, ``{1..3}``, and also ``{a},b}``.

    A closing brace before the first comma is ignored (bash's manual only says "correctly-formed").
    """
    return any(_opens_words(mask[at + 1 :]) for at, mark in enumerate(mask) if mark == "{")


def _opens_words(rest: str) -> bool:
    """Return whether an opening brace is followed by words between commas, or a sequence, and a closing brace."""
    depth, commas = 0, 0
    for at, mark in enumerate(rest):
        if mark == "}" and depth == 0 and (commas or _SEQUENCE.fullmatch(rest[:at])):
            return True
        depth += {"{": 1, "}": -1 if depth else 0}.get(mark, 0)
        commas += mark == "," and depth == 0
    return False


def _names_files(value: str, mask: str) -> bool:
    pattern = "".join(
        glob.escape(character) if protects == _QUOTED else character
        for character, protects in zip(value, mask, strict=True)
    )
    pattern = pattern.replace("[^", "[!")
    for part in pattern.split("/"):
        if part.startswith(".") and any(fnmatch.fnmatchcase(name, part) for name in (".", "..")):
            return True
    return bool(glob.glob(pattern))  # noqa: PTH207 - as a shell does, also for absolute patterns


def shortened(text: str) -> str:
    """Return a text on one line, cut when it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST_SHOWN else f"{flat[:_LONGEST_SHOWN]}…"
