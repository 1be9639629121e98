"""The system test runs on a local EMR with real steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.local_emr_process import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.airflow_home import AirflowHome
    from tests.local_emr_process import Served

pytestmark = pytest.mark.airflow
_IMPORTED = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # see tests.forked

SYSTEM = Path(__file__).parent
ROOT = SYSTEM.parents[1]


@pytest.fixture(scope="module")
def aws_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("aws")) as made:
        yield made


@pytest.fixture
def aws(aws_of_all: Served) -> Served:
    aws_of_all.forget_calls()
    return aws_of_all


@pytest.fixture
def run_system_test(
    aws: Served, tmp_path: Path, airflow_home: Callable[..., AirflowHome], request: pytest.FixtureRequest
) -> Callable[[str, int], str]:
    """
    Run the test on the local EMR as its docstring says; return its output.

    The arguments are the page that shows the caller's address, and the expected exit status.
    """
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(SYSTEM),
        "AIRFLOW__EIP__ENVIRONMENT": "testing",
        "AIRFLOW__EIP__LOCK_STORE": "dynamodb://leases?create=true",
        "ALLOCATION_ID": aws.allocation_id,
        "SUBNET_ID": aws.subnet_id,
        "WAITER_DELAY": "1",
    }
    airflow = airflow_home(tmp_path, **aws.environment(), **settings)

    def run(page: str, status: int) -> str:
        # Warnings count as they do here.
        filters = [*(request.config.getoption("pythonwarnings") or ()), _IMPORTED]
        warnings = [f"-W{warning}" for warning in filters]
        command = ["-m", "pytest", "-p", "no:xdist", *warnings, "-q", str(SYSTEM / "example_static_ip.py")]
        return airflow.run(*command, status=status, cwd=ROOT, ECHO_URL=f"{aws.url}{page}")

    return run


def assert_clean(aws: Served) -> None:
    assert aws.is_free()
    assert set(aws.cluster_states()) <= {"TERMINATING", "TERMINATED"}


def test_it_passes_and_leaves_nothing(aws, run_system_test):
    output = run_system_test("/my-ip", 0)
    assert re.search(r"^1 passed", output, flags=re.MULTILINE)
    assert sum(call["operation"] == "RunJobFlow" for call in aws.calls()) == 1
    cluster, *_ = aws.emr.list_clusters()["Clusters"]  # the newest is the first
    (step,) = aws.emr.list_steps(ClusterId=cluster["Id"])["Steps"]
    assert step["Status"]["State"] == "COMPLETED"
    assert_clean(aws)


def test_it_fails_when_the_probe_does_and_leaves_nothing(aws, run_system_test):
    assert "the DAG run ended" in run_system_test("/no-such-page", 1)
    assert_clean(aws)
