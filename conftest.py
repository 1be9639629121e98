"""
Fixtures of all tests, including those of the local EMR: one server whose clock the test advances, and its clients.

Modules that take seconds to import are imported in the fixtures that need them, so that unit tests start at once.
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
    """Name bytes after their parameter: gzip adds the time to them, and all processes must see the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slow files first; otherwise one process would run the last of them after all others have ended."""
    slow = dict.fromkeys(item.path for name in ("spark", "airflow") for item in items if item.get_closest_marker(name))
    rank = {path: place for place, path in enumerate(slow)}
    items.sort(key=lambda item: rank.get(item.path, len(slow)))


# Parts of the text of files that share an expensive fixture.
_SHARED = ("pytest.mark.spark", "airflow_home:", "tests.integration.iam.scenarios")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """
    Run some files in the same process.

    These are the files with Spark, because two would wait for each other (see ``one_spark_at_a_time``); those that fork
    the same Python with Airflow, which takes seconds to start; and those that run every scenario of the IAM policy once
    per process.
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
    """Omit Hypothesis's summary if no test used it, because its plugin would import the whole library for it."""
    plugins = session.config.pluginmanager
    if "hypothesis" not in sys.modules and (plugin := plugins.get_plugin("hypothesispytest")):
        plugins.unregister(plugin)


@pytest.fixture(scope="session", autouse=True)
def sessions_made_fast() -> Iterator[None]:
    if "botocore" not in sys.modules:  # no collected test needs it
        yield
        return
    from harness.service_models import REPLACED

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, replacement in REPLACED:
            patch.setattr(owner, name, replacement)
        yield


@pytest.fixture(autouse=True)
def one_spark_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let tests with Spark wait for each other, because two JVMs are too slow on a small machine."""
    if request.node.get_closest_marker("spark") is None:
        yield
        return
    with (Path(tempfile.gettempdir()) / "airflow-eip-provider-spark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def local_emr_server() -> Iterator[LocalAws]:
    """One server for all tests, which advance its clock; a test asks for ``local_emr``, which is reset each time."""
    from local_emr import LocalAws, ManualClock

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # takes most of the memory, and of the time of a reset
        with LocalAws(clock=ManualClock()) as aws:
            yield aws


@pytest.fixture
def boto(local_emr: LocalAws) -> Iterator[Callable[..., Any]]:
    """Create clients of the local EMR: ``boto("dynamodb")``; they are closed at the end."""
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
