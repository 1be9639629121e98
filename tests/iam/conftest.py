"""What every test of the policy shares: one local AWS, and what each scenario's calls were let through by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.iam.scenarios import SCENARIOS
from tests.iam.stage import staged

if TYPE_CHECKING:
    from airflow_eip_provider.local_aws import LocalAws


@pytest.fixture(scope="session")
def used(served_aws: LocalAws) -> dict[str, frozenset[tuple[str, str]]]:
    """Play every scenario under the whole policy; return the permissions that each one used, the shortest first."""
    found: dict[str, tuple[int, frozenset[tuple[str, str]]]] = {}
    for name, scenario in SCENARIOS.items():
        with staged(served_aws) as stage:
            scenario(stage)
            found[name] = len(stage.aws.events.calls()), stage.grants()
    return {name: grants for name, (_, grants) in sorted(found.items(), key=lambda item: item[1][0])}
