"""What is released: a pure wheel and an sdist that hold what they should and nothing else, and install."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from airflow_eip_provider import __version__

ROOT = Path(__file__).resolve().parents[3]
NAME = f"airflow_eip_provider-{__version__}"
SDIST_ROOTS = {"airflow_eip_provider", "dags", "demo", "deploy", "harness", "tests"}
SDIST_FILES = {"conftest.py", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}


def run(*command: object) -> str:
    made = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


def tracked(*folders: str) -> set[str]:
    """The files of the repository, those included that are to be added."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone, and git cannot say what belongs to it")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders).splitlines()
    return {name for name in listed if (ROOT / name).exists()}


def test_there_is_one_pure_wheel_and_one_sdist(built):
    assert {path.name for path in built.iterdir()} == {f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"}


def test_twine_finds_no_fault(built):
    assert run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir()).count("PASSED") == 2


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}

    assert names == tracked("airflow_eip_provider")
    assert [name for name in names if "local" in name] == ["airflow_eip_provider/local_aws.py"], (
        "no emulator, but a sign"
    )


def test_the_sdist_holds_the_sources_and_nothing_else(built):
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        names = {member.name.removeprefix(f"{NAME}/") for member in sdist.getmembers() if member.isfile()}

    assert {name.split("/")[0] for name in names} == SDIST_ROOTS | SDIST_FILES
    assert {name for name in names if "/" in name} == tracked(*SDIST_ROOTS)


def test_the_wheel_works_in_an_environment_of_its_own(built, tmp_path):
    """Its own files only: what it depends on is there already."""
    wheel = built / f"{NAME}-py3-none-any.whl"
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--python", python, wheel)
    lib = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    shared = next(path for path in map(Path, sys.path) if (path / "airflow").is_dir())
    (lib / "shared.pth").write_text(f"{shared}\n")
    code = (
        "import airflow_eip_provider as p; print(p.__file__, p.__version__); "
        "from importlib.metadata import entry_points; "
        "print(len([e for e in entry_points(group='apache_airflow_provider') if e.load()() and 'eip' in e.value]))"
    )

    where, version, found = run(python, "-I", "-c", code).split()

    assert Path(where).is_relative_to(lib)
    assert version == __version__
    assert int(found) >= 1
    assert run(python, "-I", venv / "bin" / "airflow-eip", "--version").strip() == __version__


def test_the_former_module_of_the_local_emr_says_where_it_went():
    command = [sys.executable, "-m", "airflow_eip_provider.local_aws", "--port", "5055"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "pip install 'airflow-eip-provider[local]'" in ended.stderr
    assert "python -m local_emr" in ended.stderr
    assert ended.stderr.count("\n") <= 2
