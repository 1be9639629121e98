"""What Airflow shows of the provider: ``airflow providers``."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider import __version__
from airflow_eip_provider.provider_info import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.airflow_home import AirflowHome

pytestmark = pytest.mark.airflow


@pytest.fixture
def providers(tmp_path: Path, airflow_home: Callable[..., AirflowHome]) -> Callable[..., str]:
    return functools.partial(airflow_home(tmp_path).run, "-m", "airflow", "providers")


def test_airflow_shows_everything_about_the_provider(providers):
    said = providers("get", "airflow-eip-provider", "--full", "--output", "json")
    (shown,) = json.loads(said[said.index("[") :])
    info = get_provider_info()
    assert shown["versions"] == [__version__]
    for kind in ("integrations", "operators", "sensors", "hooks", "triggers", "extra-links", "cli"):
        assert shown[kind] == info[kind]
    assert set(shown["config"]["eip"]["options"]) == set(info["config"]["eip"]["options"])


def test_airflow_lists_the_link_and_the_triggers(providers):
    assert "airflow_eip_provider.links.eip.ElasticIpLink" in providers("links", "--output", "plain")
    assert "airflow_eip_provider.triggers.nat" in providers("triggers", "--output", "plain")
