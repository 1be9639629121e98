"""How Airflow finds the page, and what that costs the processes that do not show it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from airflow_eip_provider.aws.resource_ids import check_allocation_id
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.provider_info import get_provider_info
from airflow_eip_provider.ui import source
from airflow_eip_provider.ui.plugin import ElasticIpPlugin, _LazyList

LOADED = """
import sys
from airflow.plugins_manager import AirflowPlugin
before = set(sys.modules)
import airflow_eip_provider.ui.plugin
new = {name for name in set(sys.modules) - before}
print(sorted(name for name in new if not name.startswith("airflow_eip_provider")))
"""


def test_the_metadata_and_the_entry_point_name_the_same_plugin():
    (named,) = get_provider_info()["plugins"]
    (point,) = [point for point in entry_points(group="airflow.plugins") if point.name == named["name"]]
    assert named["plugin-class"] == point.value.replace(":", ".")
    assert point.load() is ElasticIpPlugin
    assert ElasticIpPlugin.name == named["name"]


def test_loading_it_imports_nothing_else():
    out = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_addresses_are_split_and_checked(monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__PAGE_ADDRESSES", " eipalloc-0123456789abcdef0, eipalloc-1a2b3c4d ,")
    assert source.page_addresses() == ("eipalloc-0123456789abcdef0", "eipalloc-1a2b3c4d")
    monkeypatch.setenv("AIRFLOW__EIP__PAGE_ADDRESSES", "203.0.113.7")
    with pytest.raises(InvalidInputError, match=r"203\.0\.113\.7"):
        source.page_addresses()
    monkeypatch.delenv("AIRFLOW__EIP__PAGE_ADDRESSES")
    assert source.page_addresses() == ()


def test_an_error_of_the_page_does_not_stop_the_web_server(caplog):
    def fails():
        raise ImportError("another FastAPI")

    plugin = type("Plugin", (), {"fastapi_apps": _LazyList(fails)})
    assert plugin.fastapi_apps == plugin().fastapi_apps == []
    assert "another FastAPI" in caplog.text
    assert len(caplog.records) == 1


def test_an_allocation_id_has_one_form_for_the_page_and_the_operators(monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__PAGE_ADDRESSES", "eipalloc-012345678")
    with pytest.raises(InvalidInputError, match="'eipalloc-012345678' is not an allocation ID"):
        source.page_addresses()
    with pytest.raises(InvalidInputError):
        check_allocation_id("eipalloc-012345678")
