"""The local AWS for every test that asks for it, and clients of it."""

from __future__ import annotations

import fcntl
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from airflow_eip_provider.local_aws import LocalAws, ManualClock
from tests.life import clocked, deferrable
from tests.service_models import REPLACED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["clocked", "deferrable"]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes after their parameter: gzip writes the time into them, and all processes must see the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Start the slow files first, or the last of them would keep one process busy while the others have nothing to do.

    Those with Spark and those with Airflow processes alternate, because tests of Spark wait for each other.
    """
    slow = [
        list(dict.fromkeys(item.path for item in items if item.get_closest_marker(name)))
        for name in ("spark", "airflow")
    ]
    rank = {path: place for place, path in enumerate(filter(None, itertools.chain(*itertools.zip_longest(*slow))))}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def sessions_made_fast() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, replacement in REPLACED:
            patch.setattr(owner, name, replacement)
        yield


@pytest.fixture(scope="session", autouse=True)
def callers_not_searched() -> Iterator[None]:
    """Leave the operator's name out of the user agent: finding it reads the source of every frame of pytest's stack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsBaseHook, "_get_caller", lambda *_: "Unknown")
        yield


@pytest.fixture(autouse=True)
def one_spark_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let tests of Spark wait for each other: the JVMs of two are more than a small machine does in time."""
    if request.node.get_closest_marker("spark") is None:
        yield
        return
    with (Path(tempfile.gettempdir()) / "airflow-eip-provider-spark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def served_aws() -> Iterator[LocalAws]:
    """One server for all tests; ask for ``local_aws``, which is as good as new each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # most of what a reset takes, and of the memory
        with LocalAws(clock=ManualClock()) as aws:
            yield aws


@pytest.fixture
def local_aws(served_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """An empty AWS whose clock the test turns; AWS clients find it through the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": served_aws.endpoint_url,
        "AWS_DEFAULT_REGION": served_aws.region,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield served_aws
    served_aws.reset()


@pytest.fixture
def boto(local_aws: LocalAws) -> Iterator[Callable[..., Any]]:
    """Make clients of the local AWS: ``boto("dynamodb")``; they are closed at the end."""
    session = boto3.Session()
    clients: list[Any] = []

    def client(service: str, **options: Any) -> Any:
        clients.append(session.client(service, **options))
        return clients[-1]

    yield client
    for made in clients:
        made.close()


@pytest.fixture
def ec2(boto: Callable[..., Any]) -> Any:
    return boto("ec2")


@pytest.fixture
def ec2_elsewhere(boto: Callable[..., Any]) -> Any:
    """EC2 in another region."""
    return boto("ec2", region_name="eu-central-1")


@pytest.fixture
def emr(boto: Callable[..., Any]) -> Any:
    return boto("emr")


@pytest.fixture
def s3(boto: Callable[..., Any]) -> Any:
    return boto("s3")
