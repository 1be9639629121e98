"""What the tests of the policy share: each scenario, played once under the whole policy."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.iam.scenarios import SCENARIOS
from tests.iam.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.local_aws import LocalAws


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
