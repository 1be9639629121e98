"""What the tests of the policy share: each scenario, played once under the whole policy; and what they show."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from harness.console import table
from tests.integration.iam.scenarios import SCENARIOS
from tests.integration.iam.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.terminal import TerminalReporter

    from local_emr import LocalAws

_NEEDED = "needed permission"  # a property of a test's report, which another process may have written


@dataclass(frozen=True)
class Played:
    """What came of a scenario.

    :param grants: Sid and action of each permission that it used.
    :param refusals: the operations that it was refused.
    :param needed: the actions that each operator needed in it.
    :param error: with which it failed.
    """

    calls: int
    grants: frozenset[tuple[str, str]]
    refusals: list[str]
    needed: dict[type, set[str]]
    error: Exception | None


@pytest.fixture(scope="session")
def play(served_aws: LocalAws) -> Callable[[str], Played]:
    """Play a scenario under the whole policy, once for all tests."""

    @functools.cache
    def once(name: str) -> Played:
        with staged(served_aws) as stage:
            error = None
            try:
                SCENARIOS[name](stage)
            except Exception as failure:  # it is one test's business, not that of all who ask
                error = failure
            return Played(len(stage.aws.events.calls()), stage.grants(), stage.refusals(), stage.needed, error)

    return once


@pytest.fixture
def is_needed(request: pytest.FixtureRequest) -> Callable[[str, str, str, str], None]:
    """Note a permission, the call that was refused without it, and the scenario that failed, for the table."""
    return lambda *row: request.node.user_properties.append((_NEEDED, row))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print why each action is in the policy."""
    passed = terminalreporter.getreports("passed")
    if rows := sorted({tuple(row) for report in passed for name, row in report.user_properties if name == _NEEDED}):
        terminalreporter.section("why each action is in the policy")
        header = (
            "statement",
            "action",
            "refused without it",
            "fails without it: test_no_action_can_be_left_out, scenario",
        )
        for line in table(rows, header=header):
            terminalreporter.write_line(line)
