"""
For all tests, those of the local EMR too: one server whose clock the test turns, and clients of it.

What takes seconds to import is imported by the fixtures that need it, so that a test of plain functions runs at once.
"""

from __future__ import annotations

import fcntl
import functools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes after their parameter: gzip writes the time into them, and all processes must see the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow files first, or the last of them would keep one process busy while the others are done."""
    slow = dict.fromkeys(item.path for name in ("spark", "airflow") for item in items if item.get_closest_marker(name))
    rank = {path: place for place, path in enumerate(slow)}
    items.sort(key=lambda item: rank.get(item.path, len(slow)))


# Parts of the texts of files that have something to share.
_SHARED = ("pytest.mark.spark", "airflow_home:", "tests.integration.iam.scenarios")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """
    Give some files to one process.

    Those with Spark, as two would wait for each other, see ``one_spark_at_a_time``; those that fork the same Python
    with Airflow in it, which takes seconds to make; and those that play every scenario of the policy, once a process.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneProcessForSome(LoadFileScheduling):
        @staticmethod
        @functools.cache
        def _shared(file: str) -> str | None:
            text = (config.rootpath / file).read_text(encoding="utf-8")
            return next((shared for shared in _SHARED if shared in text), None)

        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return self._shared(file) or file

    return OneProcessForSome(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave out Hypothesis's summary when no test used it: for that alone, its plugin imports the whole library."""
    plugins = session.config.pluginmanager
    if "hypothesis" not in sys.modules and (plugin := plugins.get_plugin("hypothesispytest")):
        plugins.unregister(plugin)


@pytest.fixture(scope="session", autouse=True)
def sessions_made_fast() -> Iterator[None]:
    if "botocore" not in sys.modules:  # no test that was collected needs it
        yield
        return
    from harness.service_models import REPLACED

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, replacement in REPLACED:
            patch.setattr(owner, name, replacement)
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
def local_emr_server() -> Iterator[LocalAws]:
    """One server for all tests, whose clock they turn; ask for ``local_emr``, which is as good as new each time."""
    from local_emr import LocalAws, ManualClock

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # most of what a reset takes, and of the memory
        with LocalAws(clock=ManualClock()) as aws:
            yield aws


@pytest.fixture
def boto(local_emr: LocalAws) -> Iterator[Callable[..., Any]]:
    """Make clients of the local EMR: ``boto("dynamodb")``; they are closed at the end."""
    import boto3

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
