"""The help of the commands: texts, examples, exit statuses."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from airflow_eip_provider.cli import parsers
from airflow_eip_provider.cli.command import EXIT_STATUSES, FAILED, INTERRUPTED, OK, WRONG
from airflow_eip_provider.cli.commands import COMMANDS, GROUPS
from airflow_eip_provider.cli.parsers import make_parser

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
BY_NAME = {command.name: command for command in COMMANDS}
each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def examples(text: str) -> list[list[str]]:
    """Return the arguments of each example, up to a pipe."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    words = [shlex.split(line) for line in lines]
    assert {line[0] for line in words} == {"airflow-eip"}
    return [line[1 : line.index("|") if "|" in line else None] for line in words]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the help of a command, or of all, in 80 columns."""

    def show(*command: str) -> str:
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            make_parser().parse_args([*command, "--help"])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return show


def test_every_command_belongs_to_one_task():
    assert len(BY_NAME) == len(COMMANDS) == sum(map(len, GROUPS.values()))
    assert list(BY_NAME) == sorted(BY_NAME)


def test_help_lists_the_commands_by_task_in_80_columns(shown):
    text = shown()
    assert max(map(len, text.splitlines())) < 80
    for task, commands in GROUPS.items():
        part = text.partition(f"\n{task}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines()] == [command.name for command in commands]
    assert [f"  {number:<4} {meaning}" in text for number, meaning in EXIT_STATUSES.items()] == [True] * 6


@each_command
def test_help_of_a_command_fits_80_columns_and_has_examples_and_exit_statuses(shown, command):
    text = shown(command.name)
    assert max(map(len, text.splitlines())) < 80
    assert "\x1b" not in text
    assert "\nExamples:\n  # " in text
    assert f"\n  airflow-eip {command.name}" in text.partition("Examples:")[2]
    said = dict(re.findall(r"^  (\d+) +(\S.*)$", text.partition("Exit status:\n")[2], re.MULTILINE))
    assert {int(number): meaning for number, meaning in said.items()} == command.all_exit_statuses


@each_command
def test_examples_are_command_lines_that_the_parser_takes(command):
    lines = examples(command.examples)
    assert lines
    for line in lines:
        assert make_parser().parse_args(line).chosen is command


def test_the_examples_of_all_are_command_lines_too():
    for line in examples(parsers._EXAMPLES):
        if "--help" not in line:
            assert make_parser().parse_args(line).chosen.name == line[0]


@each_command
def test_every_command_prints_json_when_asked_to(command):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert "--json" in parser.format_help()


@each_command
def test_exit_statuses_are_those_of_the_one_table(command):
    assert {OK, FAILED, WRONG, INTERRUPTED} <= set(command.all_exit_statuses) <= set(EXIT_STATUSES)


def test_the_page_has_the_table_and_what_each_command_makes_of_it():
    of_all = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert [(int(number), meaning) for number, meaning in of_all] == list(EXIT_STATUSES.items())
    of_each = re.findall(r"^\| `([\w-]+)` \| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    expected = {
        (command.name, number, meaning) for command in COMMANDS for number, meaning in command.exit_statuses.items()
    }
    assert {(name, int(number), meaning) for name, number, meaning in of_each} == expected


def test_the_page_lists_the_commands_by_task():
    rows = re.findall(r"^\|(.*?)\| `([\w-]+)` \| (.*?)(?: \(\[.*)? \|$", PAGE.partition("## Exit")[0], re.MULTILINE)
    assert [(name, text) for _, name, text in rows] == [
        (command.name, command.help) for commands in GROUPS.values() for command in commands
    ]
    assert [task.strip() for task, _, _ in rows if task.strip()] == list(GROUPS)


def test_airflows_own_command_line_names_itself_in_the_examples():
    assert "  airflow eip status --allocation-id" in BY_NAME["status"].epilog("airflow eip")
