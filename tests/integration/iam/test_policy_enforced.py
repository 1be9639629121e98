"""The policy is enough for everything that this package does, and nothing of it can be left out."""

from __future__ import annotations

import pytest

from airflow_eip_provider.iam_policy import policy_document
from tests.integration.iam.scenarios import SCENARIOS
from tests.integration.iam.stage import BEHIND_GATEWAYS, BEHIND_TAGGED, LONG_RUNNING, S3, TAGGED, configuration, staged

PERMISSIONS = sorted(
    {
        (statement["Sid"], action)
        for given in ({}, {"lock_store": S3}, BEHIND_GATEWAYS, LONG_RUNNING, TAGGED, BEHIND_TAGGED)
        for statement in policy_document(configuration("eipalloc-0123456789abcdef0", **given))["Statement"]
        for action in statement["Action"]
    }
)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_policy_is_enough(play, name):
    played = play(name)
    if played.error:
        raise played.error
    assert played.grants, "the policy was in force"
    assert played.refusals == []


@pytest.mark.parametrize("permission", PERMISSIONS, ids=":".join)
def test_no_action_can_be_left_out(served_aws, play, permission, is_needed):
    users = [name for name in SCENARIOS if permission in play(name).grants and not play(name).error]
    assert users, "no scenario uses it"
    # What is looked at only to warn is missed by the scenario in which it matters.
    for name in sorted(users, key=lambda name: play(name).calls):
        with staged(served_aws, taken_away=permission) as stage:
            try:
                SCENARIOS[name](stage)
            except Exception:
                refused = stage.refusals()
                assert refused, "for want of the permission, not for something else"
                is_needed(*permission, refused[0], name)
                return
    pytest.fail("every scenario does without")
