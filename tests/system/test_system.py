"""The system test itself runs, on a local EMR whose steps are real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.local_emr_process import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.local_emr_process import Served

pytestmark = pytest.mark.airflow

SYSTEM = Path(__file__).parent
ROOT = SYSTEM.parents[1]


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "aws") as made:
        yield made


@pytest.fixture
def run_system_test(
    aws: Served, tmp_path: Path, airflow_database: Callable[[Path], None]
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run the test as its first lines say, on the local EMR; the argument is the page that is to see the address."""
    home = tmp_path / "airflow"
    home.mkdir()
    airflow_database(home)
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(SYSTEM),
        "AIRFLOW__EIP__ENVIRONMENT": "testing",
        "AIRFLOW__EIP__LOCK_STORE": "dynamodb://leases?create=true",
        "ALLOCATION_ID": aws.allocation_id,
        "SUBNET_ID": aws.subnet_id,
        "WAITER_DELAY": "1",
    }

    def run(page: str) -> subprocess.CompletedProcess[str]:
        environment = {**aws.environment(), **settings, "ECHO_URL": f"{aws.url}{page}"}
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-q", str(SYSTEM / "example_static_ip.py")]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
        )

    return run


def assert_clean(aws: Served) -> None:
    assert aws.is_free()
    assert set(aws.cluster_states()) <= {"TERMINATING", "TERMINATED"}


def test_it_passes_and_leaves_nothing(aws, run_system_test):
    done = run_system_test("/my-ip")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^1 passed", done.stdout, flags=re.MULTILINE)
    assert sum(call["operation"] == "RunJobFlow" for call in aws.calls()) == 1
    (cluster,) = aws.emr.list_clusters()["Clusters"]
    (step,) = aws.emr.list_steps(ClusterId=cluster["Id"])["Steps"]
    assert step["Status"]["State"] == "COMPLETED"
    assert_clean(aws)


def test_it_fails_when_the_probe_does_and_leaves_nothing(aws, run_system_test):
    done = run_system_test("/no-such-page")
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr[-2000:]
    assert "the DAG run ended" in done.stdout
    assert_clean(aws)
