from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_eip_provider.exceptions import UsageError
from airflow_eip_provider.migration.shell import arguments_of

PRINT = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.mark.parametrize(
    "text",
    [
        "aws emr",
        "aws \\\n  emr \\\r\n  x",
        "a 'b c' \"d e\" f\\ g h'i'\"j\"k",
        "a 'one\\\ntwo' \"one\\\ntwo\" on\\\nce",
        "# it's a comment\na b # \"another\nc",
        "a b#c '#d' \"# e\"",
        "a '$HOME' \\$HOME \"\\$HOME\" '`x`' \"\\`\" 5$ $",
        'a "q\\"r" \'s"t\' "u\'v" \'\' ""',
        'a \'[{"Key": "x"}]\' {a=1} é',
    ],
)
def test_words_are_those_of_a_shell(text: str) -> None:
    # One command to a shell, as to us: line breaks that are not continued are blanks.
    one_line = text.replace("comment\na", "comment\n: a").replace("another\nc", "another\n")
    ours = arguments_of(text)
    if one_line == text:
        script = f"run() {{ {sys.executable} -c '{PRINT}' \"$@\"; }}\nrun {text.replace(chr(13), '')}\n"
        shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert ours == json.loads(shell.stdout)
    else:
        assert ours == ["a", "b", "c"]


def test_lines_that_are_not_continued_are_one_command() -> None:
    assert arguments_of("aws emr create-cluster\n--name 'a b'\n\n--region x\n") == (
        ["aws", "emr", "create-cluster", "--name", "a b", "--region", "x"]
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("aws --name $NAME", "$NAME"),
        ('aws --log-uri "s3://${BUCKET}/logs"', "${BUCKET}"),
        ("aws --name run-$(date +%F)", "$(date"),
        ('aws --name "`date`"', "`date`"),
        ("aws --name $1", "$1"),
    ],
)
def test_what_a_shell_would_fill_in_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(UsageError) as refusal:
        arguments_of(text)
    assert f"a shell would put a value in for {named}" in str(refusal.value)


@pytest.mark.parametrize("end", ["\\ \n", "\\\t \r\n"])
def test_blank_after_the_backslash_of_a_continued_line_is_refused(end: str) -> None:
    with pytest.raises(UsageError, match="a blank follows the backslash at the end of line 2"):
        arguments_of(f"aws \\\nemr {end}create-cluster")
    assert arguments_of(f"aws 'a{end}b' a\\ b") == ["aws", f"a{end}b", "a b"]


def test_open_quote_is_refused() -> None:
    with pytest.raises(UsageError, match="No closing quotation"):
        arguments_of("aws --name 'daily")
