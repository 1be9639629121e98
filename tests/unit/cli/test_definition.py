"""What every ``airflow`` command imports of the commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_eip_provider.cli.commands import COMMANDS
from airflow_eip_provider.cli.definition import get_eip_cli_commands
from airflow_eip_provider.provider_info import get_provider_info

READ = """
import sys
import airflow.cli.cli_config
before = set(sys.modules)
import airflow_eip_provider.cli.definition as definition
definition.get_eip_cli_commands()
expected = {"airflow_eip_provider", *sys.stdlib_module_names}
print(sorted({name for name in set(sys.modules) - before if name.split(".")[0] not in expected}))
"""


def test_the_provider_names_where_they_are():
    (path,) = get_provider_info()["cli"]
    assert path == f"{get_eip_cli_commands.__module__}.{get_eip_cli_commands.__name__}"


def test_every_command_is_there():
    (group,) = get_eip_cli_commands()
    assert group.name == "eip"
    assert [command.name for command in group.subcommands] == [command.name for command in COMMANDS]


def test_reading_them_imports_nothing_else():
    out = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_help_of_options_fits_80_columns(monkeypatch):
    """Airflow's formatter does not wrap lines."""
    monkeypatch.setenv("COLUMNS", "80")
    (group,) = get_eip_cli_commands()
    helps = [argument.kwargs["help"] for command in group.subcommands for argument in command.args]
    assert max(len(line) for text in helps for line in text.splitlines()) <= 80 - 2 - 24
    assert max(len(line) for command in group.subcommands for line in command.description.splitlines()) < 80


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_nothing_in_help_is_taken_for_markup(command):
    helps = [command.help, command.description]
    (group,) = get_eip_cli_commands()
    (airflows,) = [action for action in group.subcommands if action.name == command.name]
    helps += [argument.kwargs["help"] for argument in airflows.args]
    assert [text for text in helps if "[" in text] == []
