"""What Airflow itself says of the provider: ``airflow providers``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider import __version__
from airflow_eip_provider.provider_info import get_provider_info

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow


def providers(home: Path, *arguments: str) -> str:
    settings = {"AIRFLOW_HOME": str(home), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    command = [sys.executable, "-m", "airflow", "providers", *arguments]
    done = subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_airflow_shows_everything_about_the_provider(tmp_path):
    said = providers(tmp_path, "get", "airflow-eip-provider", "--full", "--output", "json")
    (shown,) = json.loads(said[said.index("[") :])
    info = get_provider_info()
    assert shown["versions"] == [__version__]
    for kind in ("integrations", "operators", "sensors", "hooks", "triggers", "extra-links", "cli"):
        assert shown[kind] == info[kind]
    assert set(shown["config"]["eip"]["options"]) == set(info["config"]["eip"]["options"])


def test_airflow_lists_the_link_and_the_triggers(tmp_path):
    assert "airflow_eip_provider.links.eip.ElasticIpLink" in providers(tmp_path, "links", "--output", "plain")
    assert "airflow_eip_provider.triggers.nat" in providers(tmp_path, "triggers", "--output", "plain")
