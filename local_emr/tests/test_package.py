"""What is released: a wheel that installs in an empty environment, knows nothing of Airflow, and runs an EMR step."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from local_emr import __version__

PROJECT = Path(__file__).resolve().parents[1]
NAME = f"local_emr-{__version__}"
RUN_A_STEP = """
import sys
from importlib.metadata import entry_points
from pathlib import Path
import boto3
from local_emr import complete_aws

with complete_aws(Path(sys.argv[1]), time_scale=600) as aws:
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    emr = boto3.client("emr", endpoint_url=aws.endpoint_url, region_name=aws.region, **credentials)
    step = {"Name": "hello", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["echo", "hello"]}}
    instances = {"InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    cluster = emr.run_job_flow(Name="hello", Instances=instances, Steps=[step])["JobFlowId"]
    step_id = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    emr.get_waiter("step_complete").wait(ClusterId=cluster, StepId=step_id, WaiterConfig={"Delay": 1})
    print(emr.describe_step(ClusterId=cluster, StepId=step_id)["Step"]["Status"]["State"])
    print(*(module for module in ("airflow", "airflow_eip_provider") if module in sys.modules))
print(*(point.value for point in entry_points(group="pytest11")))
"""


def run(*command: object, cwd: Path = PROJECT) -> str:
    made = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, PROJECT)
    return folder


def sources() -> set[str]:
    package = PROJECT / "src" / "local_emr"
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(PROJECT / "src").as_posix() for path in found}


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    assert names == sources()


def test_the_sdist_holds_the_sources_and_nothing_else(built):
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        names = {member.name.removeprefix(f"{NAME}/") for member in sdist.getmembers() if member.isfile()}
    files = {"README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert names - {".gitignore"} == {f"src/{name}" for name in sources()} | files - {".gitignore"}


def test_the_licence_is_the_repositorys():
    assert (PROJECT / "LICENSE").read_bytes() == (PROJECT.parent / "LICENSE").read_bytes()


def test_the_wheel_alone_runs_a_step(built, tmp_path):
    """Its dependencies are fetched as everywhere; there is neither Airflow nor the provider."""
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, venv)
    run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, built / f"{NAME}-py3-none-any.whl")

    said = run(python, "-I", "-c", RUN_A_STEP, tmp_path / "state", cwd=tmp_path).splitlines()

    assert said == ["COMPLETED", "", "local_emr.pytest_plugin"]
