"""The words of generated commands, compared with those that real shells pass to a program."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from airflow_eip_provider.awscli_import.shell import read_command
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from pathlib import Path

# "aws" is a function that prints its words. PATH is empty, so nothing else runs.
SCRIPT = """\
exec 9>&1 1>/dev/null 2>/dev/null </dev/null
aws() { printf '%s\\0' "$#" "$@" >&9; }
"""
PIECES = [
    *("a", "x=y", "--name", "Args=[a,b]", "5", "$", "#", "!", "=", "~", ":", "é", "\u00a0", "%", "^", "@", "."),
    *("{", "}", "{a,b}", "{1..3}", "[ab]", "*", "?", ",", "..", "'", '"', "'a b'", '"a b"', "'{a,b}'", '"$"', "''"),
    *("\\", "\\\n", "\\\n  ", "\\ \n", "\\ ", "\\\\", "\\'", '\\"', "\\$"),
    *("\n", "\n\n", " # c\n", " #c", "\t", " ", "  "),
    *("$x", "${x}", "$(x)", "`", "`x`", "$'a\\tb'", '$"a"', "<KEY>", "<", ">", ">o", " >o", " 2>o", "2>&1", "&>o"),
    *("|", " | tee o", " || exit 1", "; exit", ";", "&", "&&", "(", ")", "<<E", "\r\n", "\\\r\n", "\r", "id=$(aws "),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text("ab 'é\\\"\n{},", max_size=4), max_size=12).map("".join)


def words_of_shell(shell: str, text: str, directory: Path) -> list[list[str]]:
    """Return the words of each call of "aws" by a shell."""
    done = subprocess.run(
        [str(shutil.which(shell)), "-c", SCRIPT + text],
        cwd=directory,
        env={"PATH": ""},
        capture_output=True,
        check=False,
        timeout=60,
    )
    words = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    calls = []
    while words:
        count = int(words[0])
        calls.append(words[1 : 1 + count])
        words = words[1 + count :]
    return calls


def read(text: str) -> list[str] | None:
    """Return the words of a command; None if it is refused, which must be with a line number and a remedy."""
    try:
        return read_command(text).arguments
    except UsageError as error:
        if not re.match(r"line \d+: ", error.problem) or not error.remedy:
            raise
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folder")


@given(text=TEXTS)
@example(text="emr on\\\nce")
@example(text="a \\\n\n --x y")
@example(text="a \\\n # c\n --x y")
@example(text="a \\ \n --x y")
@example(text="{a,{b},c}{{x,y}")
@example(text=",{},}")
@example(text="{a},b} {a},{b} {a}{1..3} {1..3,} {{},x}")
@example(text="a\\\n#b")
@example(text="'a' #b\n# c\n")
@example(text="x 1>o 2>&1 | tee o; exit")
@example(text=")#")
def test_words_are_those_of_real_shells_or_the_command_is_refused(
    text: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for prefix, suffix in (("aws ", ""), ("id=$(aws ", ")")):
        command = f"{prefix}{text}{suffix}"
        ours = read(command)
        event("refused" if ours is None else "read")
        if ours is None:
            continue
        unix = command.replace("\r\n", "\n")  # line endings of Windows are accepted
        expected = [words_of_shell(shell, unix, folder) for shell in ("bash", "dash")]
        assert [calls[:1] for calls in expected if calls] == [[ours[1:]]] * len([c for c in expected if c])
        assert expected[0] or ">" in command, "bash runs no command"  # it runs none if a redirection fails


@given(text=st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read(text)
