"""What Airflow discovers."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from airflow_eip_provider.provider_info import get_provider_info
from airflow_eip_provider.triggers.watch import WatchTrigger

INFO = get_provider_info()


def test_airflow_finds_the_provider_and_accepts_its_metadata():
    from airflow.providers_manager import ProvidersManager  # noqa: PLC0415

    manager = ProvidersManager()
    assert manager.providers["airflow-eip-provider"].data["name"] == INFO["name"]
    assert "airflow_eip_provider.links.eip.ElasticIpLink" in manager.extra_links_class_names


@pytest.mark.parametrize(
    "module",
    [
        name
        for kind in ("operators", "sensors", "hooks", "triggers")
        for entry in INFO[kind]
        for name in entry["python-modules"]
    ],
)
def test_every_module_named_exists(module):
    assert importlib.import_module(module).__doc__


def test_discovery_imports_nothing_heavy():
    heavy = ("airflow", "boto3", "botocore", "moto", "pyspark", "duckdb")
    code = (
        "import sys; from airflow_eip_provider.provider_info import get_provider_info; get_provider_info(); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# Of the fields that a trigger reads at once.
VALUES = {
    "lock_store": "dynamodb://leases",
    "speaker": {"owner": "0af1", "name": "test/dag/run/create/-1", "try_number": 1, "nonce": "5e"},
}


def triggers() -> list[type[WatchTrigger]]:
    classes = [
        cls for name in INFO["triggers"][0]["python-modules"] for cls in vars(importlib.import_module(name)).values()
    ]
    return [
        cls for cls in classes if inspect.isclass(cls) and issubclass(cls, WatchTrigger) and cls is not WatchTrigger
    ]


@pytest.mark.parametrize("cls", triggers(), ids=lambda cls: cls.__name__)
def test_every_trigger_is_rebuilt_from_what_it_serializes(cls):
    shared = {*inspect.signature(WatchTrigger).parameters, "watch"}
    own = {
        name: VALUES.get(name, f"value of {name}") for name in inspect.signature(cls).parameters if name not in shared
    }
    first = cls(waiter_delay=15, deadline=1.5, hint={"try_number": 1}, region_name="eu-west-1", verify=False, **own)
    path, kwargs = first.serialize()
    assert path == f"{cls.__module__}.{cls.__qualname__}"
    again = cls(**kwargs)
    assert again.serialize() == (path, kwargs)
    assert set(inspect.signature(cls).parameters) - {"watch"} <= set(kwargs)
