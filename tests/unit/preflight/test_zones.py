"""Network border groups and their zones."""

from __future__ import annotations

import pytest

from airflow_eip_provider.preflight.zones import has_zone


@pytest.mark.parametrize(
    ("group", "zone", "belongs"),
    [
        ("us-west-2", "us-west-2a", True),
        ("us-west-2", "us-west-2-lax-1a", False),
        ("us-west-2-lax-1", "us-west-2-lax-1a", True),
        ("us-west-2-lax-1", "us-west-2a", False),
        ("us-west-2-lax-1", "us-west-2-den-1a", False),
        ("us-west-2-wl1-den-wlz-1", "us-west-2-wl1-den-wlz-1", True),
    ],
)
def test_a_zone_belongs_to_the_border_group_that_its_name_says(group, zone, belongs):
    assert has_zone(group, zone, region="us-west-2") is belongs
