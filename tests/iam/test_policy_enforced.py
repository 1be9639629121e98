"""The policy is enough for everything that this package does, and nothing of it can be left out."""

from __future__ import annotations

import pytest

from airflow_eip_provider.iam_policy import policy_document
from tests.iam.scenarios import SCENARIOS
from tests.iam.stage import BEHIND_GATEWAYS, S3, configuration, staged

PERMISSIONS = sorted(
    {
        (statement["Sid"], action)
        for given in ({}, {"lock_store": S3}, BEHIND_GATEWAYS)
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
def test_no_action_can_be_left_out(served_aws, play, permission):
    users = [name for name in SCENARIOS if permission in play(name).grants and not play(name).error]
    assert users, "no scenario uses it"
    with staged(served_aws, taken_away=permission) as stage:
        with pytest.raises(Exception):  # noqa: B017, PT011 - the scenario fails, each in its own way
            SCENARIOS[min(users, key=lambda name: play(name).calls)](stage)
        assert stage.refusals(), "for want of the permission, not for something else"
