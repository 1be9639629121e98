"""The table of cases: what a shell makes of a command, and what is refused with its line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider.awscli_import.shell import arguments_of, read_command
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from pathlib import Path

PRINT = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.mark.parametrize(
    "text",
    [
        "aws emr",
        "aws \\\n  emr \\\r\n  x",
        "a 'b c' \"d e\" f\\ g h'i'\"j\"k",
        "a 'one\\\ntwo' \"one\\\ntwo\" on\\\nce",
        "# it's a comment\na b # \"another\n\n# c",
        "a b#c '#d' \"# e\" \\#f",
        "a '$HOME' \\$HOME \"\\$HOME\" '`x`' \"\\`\" 5$ $",
        'a "q\\"r" \'s"t\' "u\'v" \'\' ""',
        'a \'[{"Key": "x"}]\' {a=1} é',
        "a {a}{b} '{a,b}' {a=',b'} \\{a,b} a,b {} {a,b",
        "a x~y '~' \\~ --x=~ file://~/x",
        "a [a,b] Args=[x,y] 'a*' a\\* ! = == if then",
        "a x^ ^x %a% @x +x",
        "a\tb   c  \t ",
        "a 'one\ntwo' \"three\n\nfour\"",
    ],
)
def test_words_are_those_of_a_shell(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = f'run() {{ {sys.executable} -c \'{PRINT}\' "$@"; }}\na() {{ run a "$@"; }}\naws() {{ run aws "$@"; }}\n'
    shell = subprocess.run(
        ["bash", "-c", run + text.replace("\r", "")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert read_command(text).arguments == json.loads(shell.stdout)


@pytest.mark.parametrize(
    ("text", "words", "notes"),
    [
        ("aws x > cluster.json", ["x"], ["line 1: '> cluster.json' is left out"]),
        ("aws x >> log 2>&1", ["x"], ["line 1: '>> log' is left out", "line 1: '2>&1' is left out"]),
        ("aws x &>/dev/null", ["x"], ["line 1: '&>/dev/null' is left out"]),
        ('aws x 2> "$LOG"', ["x"], ["line 1: '2> \"$LOG\"' is left out"]),
        ("aws x;", ["x"], ["line 1: ';' is left out"]),
        ("aws x &", ["x"], ["line 1: '&' is left out"]),
        ("aws x \\\n  | tee id.json", ["x"], ["line 2: '| tee id.json' is left out"]),
        ("aws x | jq -r .ClusterId > id", ["x"], ["line 1: '| jq -r .ClusterId > id' is left out"]),
        ("aws x |\n  tr -d '\"'", ["x"], ["line 1: '| tr -d '\"'' is left out"]),
        ("aws x || exit 1", ["x"], ["line 1: '|| exit 1' is left out"]),
        ("aws x && echo $?", ["x"], ["line 1: '&& echo $?' is left out"]),
        ("#!/bin/bash\nset -euo pipefail\n\naws x", ["x"], ["line 2: 'set -euo pipefail' is left out"]),
        ("echo 'a cluster'; aws x", ["x"], ["line 1: 'echo 'a cluster'' is left out"]),
        ("id=$(aws x)", ["x"], ["line 1: 'id=$(' is left out"]),
        ("id=$(aws x) #y", ["x"], ["line 1: 'id=$(' is left out"]),
        ('export id="$(\n  aws x \\\n  y "z"\n)"', ["x", "y", "z"], ["line 1: 'export id=\"$(' is left out"]),
        ("id=`aws x`", ["x"], ["line 1: 'id=`' is left out"]),
        (
            'id=$(aws x | jq -r .ClusterId) || exit 1\naws emr wait cluster-running --cluster-id "$id"\n',
            ["x"],
            [
                "line 1: 'id=$(' is left out",
                "line 1: '| jq -r .ClusterId' is left out",
                "line 1: '|| exit 1' is left out",
                "line 2: 'aws emr wait cluster-running --cluster-id \"$id\"' is left out",
            ],
        ),
    ],
)
def test_text_around_the_command_is_left_out_with_a_note(text: str, words: list[str], notes: list[str]) -> None:
    command = read_command(text)
    assert command.arguments == ["aws", *words]
    assert command.notes == notes


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        # Line ends.
        ("aws a\n--name b", "line 2: the command ends with line 1, and '--name b'", "end line 1 with a backslash"),
        ("aws a \\\n\n--name b", "line 3: the command ends with line 1", "no empty line before line 3"),
        ("aws a \\\n# c\n --name b", "line 3: the command ends with line 1", "no comment and no empty line"),
        ("aws a # c \\\n--name b", "line 2: the command ends with line 1", "end line 1 with a backslash"),
        ("aws a \\\nb \\ \nc", "line 2: a blank follows the backslash at its end", "end the line with the backslash"),
        ("aws a \\\t\r\nb", "line 1: a blank follows the backslash at its end", "end the line with the backslash"),
        ("aws a \\", "line 1: the command ends with a backslash", "leave it out, or add the rest"),
        ("aws a ^\r\n  --b", "line 1: it ends with ^, with which cmd.exe continues a line", "with a backslash (\\)"),
        ("aws a `\n  --b", "line 1: it ends with `, with which PowerShell continues", "with a backslash (\\)"),
        # Quotes.
        ("aws\\\n 'a", "line 2: the quote ' is never closed (No closing quotation)", "close it"),
        ('aws "a', 'line 1: the quote " is never closed', "close it"),
        ("aws it's", "line 1: the quote ' is never closed", "write \\'"),
        # Expansions.
        ("aws --name $NAME", "line 1: a shell would substitute $NAME", "write the value"),
        ('aws \\\n --log-uri "s3://${BUCKET}/l"', "line 2: a shell would substitute ${BUCKET}", "after --"),
        ("aws run-$(date +%F)", "a shell would substitute $(date +%F)", "write the value"),
        ('aws "`date`"', "a shell would substitute `date`", "write the value"),
        ("aws $1", "a shell would substitute $1", "write the value"),
        ("aws $((1 + 2))", "a shell would substitute $((1 + 2))", "write the value"),
        (
            "echo $(aws emr create-cluster x)",
            "substitute $(aws emr create-cluster x)",
            "give only the create-cluster command in it",
        ),
        ("aws $'Daily\\tjob'", "line 1: a shell would translate $'Daily\\tjob'", "in single quotes"),
        ('aws $"Daily"', 'line 1: a shell would translate $"…"', "in single quotes"),
        ("aws ~/x", "substitute a home directory for ~ in ~/x", "in single quotes"),
        ("aws dir=~/x", "substitute a home directory for ~ in dir=~/x", "in single quotes"),
        ("aws {a,b}", "make several words of {a,b}", "in single quotes"),
        ("aws Ebs={a=1,b={c=2}}", "make several words of Ebs={a=1,b={c=2}}", "in single quotes"),
        ("aws x{1..3}", "make several words of x{1..3}", "in single quotes"),
        ("aws KeyName=<YOUR_KEY>,b", "line 1: <YOUR_KEY> is a placeholder", "replace it with your value"),
        ("aws --k <your key name> --x", "line 1: <your key name> is a placeholder", "without < and >"),
        # Operators.
        ("aws a > x --b", "line 1: '> x' redirects its output, and words of the command follow", "leave it out"),
        ("aws a \\\n> --b", "line 2: '> --b' redirects its output to what looks like an option", "leave out the '>'"),
        ("aws a < in", "line 1: '< in' redirects its input", "file://"),
        ("aws a <<EOF\nx\nEOF", "line 1: a here-document follows '<<'", "file://"),
        ("aws a | tee {f}<<E\nb\nE", "line 1: a here-document follows", "file://"),
        ("aws a <(b)", "line 1: '<(' starts a process substitution", "single quotes"),
        ("aws a >", "line 1: no file follows '>'", "leave it out"),
        ("aws (a)", "line 1: '(' is an operator", "single quotes"),
        ("aws R&D --x", "line 1: 'D --x' after '&' would be a separate command", "single quotes"),
        ("aws a;b", "line 1: 'b' after ';' would be a separate command", "single quotes"),
        ("aws a | unknown", "line 1: 'unknown' after '|' would be a separate command", "leave it out"),
        ("aws a | tee o`", "line 1: ` is never closed", "single quotes"),
        ("aws a |", "line 1: no command follows '|'", "leave it out"),
        ("id=$(aws a |)", "line 1: no command follows '|'", "leave it out"),
        ("; aws a", "line 1: there is no command before ';'", "leave it out"),
        ("aws emr create-cluster\naws emr create-cluster", "line 2: a second create-cluster", "one at a time"),
        # Before the command.
        ("set -e\nexport A=b\naws x", "line 2: 'export A=b' is before the command", "nothing before it"),
        ("NAME=x\naws x", "line 1: 'NAME=x' is before the command", "nothing before it"),
        ("cat x | aws x", "line 1: 'cat x' is before the command", "nothing before it"),
        ("id=$(aws x", "line 1: ')' is missing at the end", "close the $( or `"),
        ("id=$(aws x)#y", "line 1: '#y' after what captures the output", "leave it out"),
        ("id=$(aws x)#)", "line 1: ')' is an operator", "leave it out"),
        ("id=$(aws x) y", "line 1: 'y' after what captures the output", "leave it out"),
        ("id=`aws 'a\\b'`", "line 1: within `…` a shell interprets \\b twice", "write $(…)"),
        ("aws a\0b", "line 1: it has a NUL character", "in UTF-8"),
    ],
)
def test_everything_but_literal_words_is_refused_with_its_line(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_command(text)
    assert problem in str(refusal.value)
    assert remedy in refusal.value.remedy


def test_pattern_is_refused_where_a_shell_would_find_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert arguments_of("aws s3://b/*.jar Args=[a,b] steps?") == ["aws", "s3://b/*.jar", "Args=[a,b]", "steps?"]
    (tmp_path / "steps1").touch()
    with pytest.raises(UsageError, match=re.escape("substitute the names of files in this folder for steps?")):
        arguments_of("aws \\\n s3://b/*.jar steps?")
    assert arguments_of("aws 'steps?' steps\\?") == ["aws", "steps?", "steps?"]


def test_a_pattern_also_matches_the_folder_and_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the names of files"):
        arguments_of("aws ..*")
