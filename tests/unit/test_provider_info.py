"""The provider metadata."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor

import airflow_eip_provider
from airflow_eip_provider.airflow_compat import BaseHook, BaseOperator, BaseTrigger
from airflow_eip_provider.provider_info import get_provider_info
from airflow_eip_provider.sensors.watching import WatchingSensor
from airflow_eip_provider.triggers.watch import WatchTrigger
from tests.airflow_version import AIRFLOW

INFO = get_provider_info()
FOR_OTHERS = {WatchTrigger, WatchingSensor}  # only other modules of the provider use them


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


def test_the_metadata_is_what_airflows_schema_asks_for():
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(INFO, schema)
    # The schema allows other keys, such as misspelt ones. That of Airflow before 3.2 lacks some of the keys.
    assert AIRFLOW < (3, 2) or set(INFO) - {"versions"} <= set(schema["properties"])


def public_modules(kind: str, base: type) -> set[str]:
    """The modules of a kind with a class for users; a module in a subpackage counts for the subpackage."""
    package = importlib.import_module(f"airflow_eip_provider.{kind}")
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        classes = vars(importlib.import_module(module.name)).values()
        if any(
            inspect.isclass(cls) and issubclass(cls, base) and cls.__module__ == module.name and cls not in FOR_OTHERS
            for cls in classes
        ):
            found.add(".".join(module.name.split(".")[:3]))
    return found


def test_every_public_module_is_named():
    bases = {"operators": BaseOperator, "sensors": AwsBaseSensor, "hooks": BaseHook, "triggers": BaseTrigger}
    named = {kind: {name for entry in INFO[kind] for name in entry["python-modules"]} for kind in bases}
    assert named == {kind: public_modules(kind, base) for kind, base in bases.items()}


def test_every_integration_that_is_named_is_described():
    (described,) = INFO["integrations"]
    named = {
        entry["integration-name"] for kind in ("operators", "sensors", "hooks", "triggers") for entry in INFO[kind]
    }
    assert named == {described["integration-name"]}


def test_every_option_of_the_section_that_is_read_is_described():
    texts = [path.read_text(encoding="utf-8") for path in Path(airflow_eip_provider.__file__).parent.glob("**/*.py")]
    read = {name for text in texts for name in re.findall(r'conf\.get\w*\(\s*"eip",\s*"(\w+)"', text)}
    assert read == set(INFO["config"]["eip"]["options"])


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
    "attempt": {"owner": "0af1", "name": "test/dag/run/create/-1", "try_number": 1, "nonce": "5e"},
    "allocation_ids": ["eipalloc-1", "eipalloc-2"],
    "checks": [],
    "unhealthy_after": "3/5",
    "healthy_after": "2/3",
    "known": {"since": 0.0, "start_by": 0.0},
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
