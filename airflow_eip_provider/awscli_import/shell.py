"""The one command of a file, as a shell reads it; other text is left out when that is safe, and refused otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow_eip_provider.awscli_import.shell_tokens import Lexer, Token, shortened

if TYPE_CHECKING:
    from airflow_eip_provider.exceptions import UsageError

# What may come before the command: it does not change the request.
_MAY_COME_BEFORE = {":", "echo", "printf", "sleep", "true"}
_SET_OPTIONS = re.compile(r"set( [-+][eEuxvo]+| pipefail| errexit| errtrace| nounset| xtrace| verbose)+")
# What may follow it. A part of a create-cluster command after a lost backslash is none of these.
_MAY_FOLLOW = _MAY_COME_BEFORE | {
    *("airflow-eip", "aws", "awk", "cat", "cut", "date", "exit", "false", "grep", "head", "jq", "less", "logger"),
    *("more", "python", "python3", "read", "return", "sed", "set", "sort", "tail", "tee", "tr", "uniq", "wait"),
    "xargs",
}
_LEAVE_OUT_OR_QUOTE = "leave it out, or put it in single quotes if it is part of a value"


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """
    A command.

    :param arguments: its words.
    :param notes: a sentence for each part of the text that is left out.
    """

    arguments: list[str]
    notes: list[str]


@dataclass(slots=True)
class _Statement:
    """
    A simple command.

    :param before: the token between it and the previous statement; ``None`` at the start of the text.
    :param redirections: operators, each with the word that follows.
    """

    before: Token | None
    words: list[Token] = field(default_factory=list)
    redirections: list[tuple[Token, Token]] = field(default_factory=list)

    @property
    def start(self) -> int:
        """The position of its first token."""
        return min(token.start for token in [*self.words, *(operator for operator, _ in self.redirections)])

    @property
    def end(self) -> int:
        """The position after its last token."""
        return max(token.end for token in [*self.words, *(target for _, target in self.redirections)])

    @property
    def texts(self) -> list[str]:
        """The words without their quotes."""
        return [token.text for token in self.words]

    @property
    def name(self) -> str:
        """The name of its program, without a directory; an empty string when unknown."""
        return PurePosixPath(self.words[0].text).name if self.words and not self.words[0].fault else ""


def arguments_of(text: str) -> list[str]:
    """Return the words of the command of a text; see ``read_command``."""
    return read_command(text).arguments


def read_command(text: str) -> ShellCommand:
    """
    Return the one command of a text, as a POSIX shell reads it.

    Left out, each with a note: redirections of its output after its last word, what reads its output in a pipeline or
    stores it in a variable, ``set`` and messages before it, and well-known commands after it.

    :raises UsageError: with the line, for everything else that is not a literal word of the command.
    """
    text = text.replace("\r\n", "\n")  # as saved on Windows
    reader = _Reader(Lexer(text))
    if "\0" in text:
        raise reader.lexer.error(text.index("\0"), "it has a NUL character", "save it as text, in UTF-8")
    reader.split()
    return ShellCommand(reader.arguments(), [note for _, note in sorted(reader.notes)])


class _Reader:
    """Finds the command in the statements of a text."""

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.statements: list[_Statement] = []
        self.notes: list[tuple[int, str]] = []

    def split(self) -> None:
        """Split the text into simple commands."""
        current, redirection = _Statement(None), None
        for token in self.lexer.tokens():
            if redirection is not None:
                self._check_target(redirection, token)
                current.redirections.append((redirection, token))
                redirection = None
            elif token.kind == "word":
                current.words.append(token)
            elif token.kind == "redirection":
                redirection = token
            else:
                current = self._next(current, token)
        if redirection is not None:
            self._check_target(redirection, None)
        self._end(current)

    def _end(self, current: _Statement) -> None:
        """Keep the last statement; without one, only the operators ``;`` and ``&`` may come at the end."""
        last = current.before
        if self._keep(current) or last is None or last.kind != "operator":
            return
        if last.text not in {";", "&"}:
            problem = f"no command follows '{last.text}'"
            raise self.lexer.error(last.start, problem, _LEAVE_OUT_OR_QUOTE)
        self._note(last.start, last.end)

    def _next(self, current: _Statement, token: Token) -> _Statement:
        """Finish a statement at an operator or the end of a line, and return the next one."""
        if token.kind == "capture":
            self._note(token.start, token.end)
            return current
        if token.kind == "operator" and token.text in {"(", ")", ";;"}:
            problem = f"'{token.text}' is an operator of the shell"
            raise self.lexer.error(token.start, problem, _LEAVE_OUT_OR_QUOTE)
        if token.kind == "captured":
            self._end(current)
            return _Statement(token)
        after_capture = current.before is not None and current.before.kind == "captured"
        if self._keep(current) or after_capture:
            return _Statement(token)
        if token.kind == "newline":
            return current
        problem = f"there is no command before '{token.text}'"
        raise self.lexer.error(token.start, problem, _LEAVE_OUT_OR_QUOTE)

    def _keep(self, statement: _Statement) -> bool:
        if not statement.words and not statement.redirections:
            return False
        self.statements.append(statement)
        return True

    def _check_target(self, redirection: Token, target: Token | None) -> None:
        if target is None or target.kind != "word":
            raise self.lexer.error(redirection.start, f"no file follows '{redirection.text}'", _LEAVE_OUT_OR_QUOTE)

    def arguments(self) -> list[str]:
        """Return the words of the command; leave out or refuse all other text."""
        statements = list(self.statements)
        while len(statements) > 1 and _may_come_before(*statements[:2]):
            left_out = statements.pop(0)
            self._note(left_out.start, left_out.end)
        if not statements:
            return []
        command, *following = statements
        if following and command.name not in {"aws", "aws.exe"}:
            raise self._error_before_command(command)
        for token in command.words:
            if token.fault:
                raise token.fault
        self._drop_redirections(command)
        for previous, statement in zip([command, *following], following, strict=False):
            self._drop(statement, previous)
        return command.texts

    def _error_before_command(self, statement: _Statement) -> UsageError:
        problem = f"'{self._written(statement)}' is before the command"
        remedy = (
            "give exactly one complete aws emr create-cluster command with nothing before it, such as cd, export or "
            "NAME=value; a region goes into --region"
        )
        return self.lexer.error(statement.start, problem, remedy)

    def _drop_redirections(self, command: _Statement) -> None:
        for operator, target in command.redirections:
            written = f"'{self.lexer.text[operator.start : target.end]}'"
            if "<" in operator.text:
                problem = f"{written} redirects its input"
                raise self.lexer.error(operator.start, problem, "leave it out, and give a file as file://NAME")
            if command.words and command.words[-1].start > operator.start:
                problem = f"{written} redirects its output, and words of the command follow"
                remedy = f"{_LEAVE_OUT_OR_QUOTE}; also leave out a prompt that was copied with the command"
                raise self.lexer.error(operator.start, problem, remedy)
            if target.text.startswith("-") and target.text != "-":
                problem = f"{written} redirects its output to what looks like an option"
                raise self.lexer.error(operator.start, problem, "leave out the '>', or all of it")
            self._note(operator.start, target.end)

    def _drop(self, statement: _Statement, previous: _Statement) -> None:
        """Leave out a statement after the command."""
        before = statement.before
        written = self._written(statement)
        if "create-cluster" in statement.texts[1:]:
            raise self.lexer.error(statement.start, "a second create-cluster command", "give one at a time")
        if statement.name in _MAY_FOLLOW or not statement.words:
            start = statement.start if before is None or before.kind != "operator" else before.start
            self._note(start, statement.end)
            return
        if before is not None and before.kind == "newline":
            end, line = self.lexer.line(previous.end), self.lexer.line(statement.start)
            problem = f"the command ends with line {end}, and '{written}' would be a separate command"
            remedy = (
                f"end line {end} with a backslash, with no comment and no empty line before line {line}, if it belongs "
                "to the command; otherwise leave it out"
            )
            raise self.lexer.error(statement.start, problem, remedy)
        operator = "what captures the output" if before is None or before.kind == "captured" else f"'{before.text}'"
        problem = f"'{written}' after {operator} would be a separate command"
        raise self.lexer.error(statement.start, problem, f"{_LEAVE_OUT_OR_QUOTE}, with its operator")

    def _note(self, start: int, end: int) -> None:
        written = shortened(self.lexer.text[start:end])
        self.notes.append((start, f"line {self.lexer.line(start)}: '{written}' is left out"))

    def _written(self, statement: _Statement) -> str:
        return shortened(self.lexer.text[statement.start : statement.end])


def _may_come_before(statement: _Statement, following: _Statement) -> bool:
    """Whether a statement before the command does not change the request."""
    if following.before is None or following.before.text in {"|", "|&", "||", "&"}:
        return False
    if statement.name == "set":
        return _SET_OPTIONS.fullmatch(" ".join(statement.texts)) is not None
    return statement.name in _MAY_COME_BEFORE and not any("$(" in text or "`" in text for text in statement.texts)
