"""The files of ``make mwaa`` are installed as MWAA does it, on each of its versions, and every DAG is imported."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import __version__
from airflow_eip_provider.provider_info import get_provider_info
from tests.pythons import interpreter
from tests.verification.mwaa.image import CONSTRAINTS, PLUGINS, ROOT, Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS = ("2.11.2", "3.0.6", "3.2.1", "3.3.1")
WHEEL = f"airflow_eip_provider-{__version__}-py3-none-any.whl"


def build(output: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "deploy" / "mwaa" / "build.py", "--output", output, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mwaa") / "dist"
    made = build(output)
    assert made.returncode == 0, made.stderr
    return output


@pytest.fixture(scope="session", params=VERSIONS)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    version = request.param
    home = tmp_path_factory.mktemp(f"mwaa-{version}")
    image = Image(version=version, python=home / "venv" / "bin" / "python", home=home)
    if not image.constraints.is_file():
        pytest.skip(f"MWAA's constraints files are not in {CONSTRAINTS}; MWAA_CONSTRAINTS names another folder")
    python = interpreter("3.12")
    if python is None:
        pytest.skip("there is no Python 3.12, on which MWAA runs")
    image.build(python)
    yield image
    shutil.rmtree(home)


@pytest.fixture
def environment(image: Image) -> Iterator[Image]:
    """An environment before its first start."""
    yield image
    image.uv("uninstall", "--quiet", "airflow-eip-provider")
    shutil.rmtree(image.plugins, ignore_errors=True)


def test_what_is_built(built):
    assert {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()} == {
        WHEEL,
        "airflow-options.json",
        "dags/azure_sql_daily.py",
        "dags/eip_reaper.py",
        "dags/emr_failover_drill.py",
        "dags/emr_standby.py",
        "jobs/install_python_packages.sh",
        "jobs/read_azure_sql.py",
        "plugins.zip",
        "requirements-no-internet.txt",
        "requirements.txt",
    }
    with zipfile.ZipFile(built / "plugins.zip") as plugins:
        assert plugins.namelist() == [WHEEL]
        assert plugins.read(WHEEL) == (built / WHEEL).read_bytes()


def test_the_same_sources_make_the_same_files(built, tmp_path):
    assert build(tmp_path / "again").returncode == 0
    for path in (path for path in built.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path.relative_to(built)).read_bytes() == path.read_bytes(), path


def test_the_options_are_the_two_that_every_environment_needs_and_the_provider_knows_them(built):
    options = json.loads((built / "airflow-options.json").read_text())
    assert set(options) == {"eip.environment", "eip.lock_store"}
    assert {option.removeprefix("eip.") for option in options} <= set(get_provider_info()["config"]["eip"]["options"])


def test_constraints_are_carried_along(tmp_path):
    (tmp_path / "mine.txt").write_text("some-package==1.2\n")
    assert build(tmp_path / "dist", "--constraints", tmp_path / "mine.txt").returncode == 0
    with zipfile.ZipFile(tmp_path / "dist" / "plugins.zip") as plugins:
        assert plugins.read("constraints.txt") == b"some-package==1.2\n"
    for name in ("requirements.txt", "requirements-no-internet.txt"):
        first = (tmp_path / "dist" / name).read_text().splitlines()[0]
        assert first == f'--constraint "{PLUGINS}/constraints.txt"'


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("")
    made = build(tmp_path)
    assert made.returncode == 2
    assert "was not made by this" in made.stderr
    assert (tmp_path / "precious").exists()


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("requirements", "carried"),
    [("requirements.txt", False), ("requirements-no-internet.txt", False), ("requirements-no-internet.txt", True)],
    ids=["internet", "no-internet", "no-internet-with-constraints"],
)
def test_an_environment_starts_with_it(environment, built, tmp_path, requirements, carried):
    if carried:
        built = tmp_path / "dist"
        assert build(built, "--constraints", environment.constraints).returncode == 0
    before = environment.packages()
    essential = environment.essential_packages()
    assert {"apache-airflow", "celery", "sqlalchemy"} <= set(essential)
    assert essential.items() <= before.items()

    environment.unpack(built / "plugins.zip")
    made = environment.install(built / requirements, internet=requirements == "requirements.txt")
    assert made.returncode == 0, made.stdout + made.stderr
    assert environment.packages() == before | {"airflow-eip-provider": __version__}
    assert "airflow-eip-provider" not in environment.uv("check", check=False).stderr

    seen = look(environment, built / "dags", tmp_path)
    assert seen["errors"] == {}
    assert seen["version"] == __version__
    assert "airflow_eip_provider.triggers.lock" in seen["modules"]
    assert list(seen["missing"]) == ["airflow_eip_provider.operators.livy"]
    assert "pip install 'airflow-eip-provider[livy]'" in seen["missing"]["airflow_eip_provider.operators.livy"]
    assert set(seen["dags"].values()) == {str(path) for path in (built / "dags").glob("*.py")}


def test_the_extra_livy_is_asked_for_with_its_dag(built, tmp_path):
    output = tmp_path / "dist"
    assert build(output, "--livy").returncode == 0
    assert (output / "requirements.txt").read_text() == f"airflow-eip-provider[livy] @ file://{PLUGINS}/{WHEEL}\n"
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    others = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    assert files == (others | {"dags/emr_livy_batch.py"}) - {"requirements-no-internet.txt"}


@pytest.mark.airflow
def test_an_environment_starts_with_the_extra_livy(environment, tmp_path):
    """The Livy provider comes in the version of MWAA's constraints, and changes no other package."""
    before = environment.packages()
    output = tmp_path / "dist"
    assert build(output, "--livy").returncode == 0
    environment.unpack(output / "plugins.zip")
    made = environment.install(output / "requirements.txt", internet=True)
    assert made.returncode == 0, made.stdout + made.stderr
    name = "apache-airflow-providers-apache-livy"
    (pinned,) = re.findall(rf"^{name}==(\S+)", environment.constraints.read_text(), re.MULTILINE)
    after = environment.packages()
    assert after[name] == pinned
    assert {package: after[package] for package in before} == before

    seen = look(environment, output / "dags", tmp_path)
    assert seen["errors"] == {}
    assert seen["missing"] == {}
    assert "emr_livy_batch" in seen["dags"]
    environment.uv("uninstall", "--quiet", *sorted(after.keys() - before.keys()))


@pytest.mark.airflow
def test_an_essential_package_cannot_be_replaced(environment, tmp_path):
    (tmp_path / "requirements.txt").write_text("# --constraint none\ncelery<5\n")
    made = environment.install(tmp_path / "requirements.txt", internet=False)
    assert made.returncode == 1
    assert "The user requested (constraint) celery==" in made.stdout + made.stderr


def look(environment: Image, dags: Path, folder: Path) -> dict[str, Any]:
    options = {
        "PYTHONDONTWRITEBYTECODE": 1,  # the folder is as it was built
        "AIRFLOW_HOME": folder / "airflow",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": environment.plugins,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    env = inherited | {name: str(value) for name, value in options.items()}
    return json.loads(
        environment.run(ROOT / "tests" / "verification" / "mwaa" / "look.py", dags, env=env).stdout.splitlines()[-1]
    )
