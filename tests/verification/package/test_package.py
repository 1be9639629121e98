"""The released distributions: a pure wheel and an sdist with the right files, which can be installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from airflow_eip_provider import __version__
from tests.verification.matrix.cells import CELLS

ROOT = Path(__file__).resolve().parents[3]
NAME = f"airflow_eip_provider-{__version__}"
EXAMPLES = "airflow_eip_provider/example_dags"
SDIST_ROOTS = {"airflow_eip_provider", "dags", "demo", "deploy", "harness", "tests"}
_DOCUMENTS = {"README.md", "CHANGELOG.md", "LICENSE", "NOTICE"}
SDIST_FILES = {*_DOCUMENTS, "conftest.py", "pyproject.toml", "PKG-INFO", ".gitignore"}


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
    """Return the files of the repository, including new ones that are not ignored."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git clone, so the list of files is not known")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders).splitlines()
    names = {name for name in listed if (ROOT / name).exists()}
    if EXAMPLES in names:  # a link to dags/, which a distribution has as files
        names = (names - {EXAMPLES}) | {name.replace("dags", EXAMPLES, 1) for name in tracked("dags")}
    return names


def test_there_is_one_pure_wheel_and_one_sdist(built):
    assert {path.name for path in built.iterdir()} == {f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"}


def test_twine_finds_no_problem(built):
    assert run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir()).count("PASSED") == 2


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}

    assert names == tracked("airflow_eip_provider")
    assert [name for name in names if "local" in name] == ["airflow_eip_provider/local_aws.py"], (
        "only the module with the message where the local EMR is"
    )


def test_the_wheel_has_the_example_dags_unchanged(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        shipped = {name: wheel.read(name) for name in wheel.namelist() if name.startswith(f"{EXAMPLES}/")}

    assert shipped == {name.replace("dags", EXAMPLES, 1): (ROOT / name).read_bytes() for name in tracked("dags")}
    assert {f"{EXAMPLES}/azure_sql_daily.py", f"{EXAMPLES}/jobs/read_azure_sql.py"} <= set(shipped)


def test_every_link_of_the_page_on_pypi_is_absolute_and_leads_to_an_existing_file(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        page = message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA")).get_payload()

    links = re.findall(r"\]\(([^)]+)\)", page)
    own = [link.partition("/blob/main/") for link in links]
    assert len(links) == len(re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    assert [path for _, ours, path in own if ours and not (ROOT / path.removesuffix("?raw=true")).exists()] == []


def test_the_metadata_names_licence_addresses_and_the_pythons_of_the_matrix(built):
    with zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl") as wheel:
        metadata = message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))

    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    names = [url.split(", ")[0] for url in metadata.get_all("Project-URL")]
    assert names == ["Documentation", "Source", "Changelog", "Issues"]
    prefix = "Programming Language :: Python :: "
    pythons = [name.removeprefix(prefix) for name in metadata.get_all("Classifier") if name.startswith(prefix)]
    assert pythons == sorted({cell.python for cell in CELLS})


def test_the_sdist_holds_the_sources_and_nothing_else(built):
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        names = {member.name.removeprefix(f"{NAME}/") for member in sdist.getmembers() if member.isfile()}

    assert {name.split("/")[0] for name in names} == SDIST_ROOTS | SDIST_FILES
    assert {name for name in names if "/" in name} == tracked(*SDIST_ROOTS)


def environment(folder: Path, *installed: object) -> tuple[Path, Path]:
    """Create an environment with packages and this one's dependencies; return its Python and package folder."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    install = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
    lib = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    shared = next(path for path in map(Path, sys.path) if (path / "airflow").is_dir())
    (lib / "shared.pth").write_text(f"{shared}\n")
    run(*install, "--python", python, *installed)
    return python, lib


def test_an_editable_installation_has_the_example_dags_and_shows_changes(tmp_path):
    python, _ = environment(tmp_path / "venv", "--editable", ROOT)
    code = (
        "import json; from importlib.resources import files; "
        "print(json.dumps([str(path) for path in (files('airflow_eip_provider') / 'example_dags').iterdir()]))"
    )
    examples = [Path(path) for path in json.loads(run(python, "-I", "-c", code))]

    assert {path.resolve() for path in examples if path.suffix == ".py"} == set((ROOT / "dags").glob("*.py"))


def test_the_wheel_works_in_an_environment_of_its_own(built, tmp_path):
    """The dependencies are those of this environment."""
    venv = tmp_path / "venv"
    python, lib = environment(venv, built / f"{NAME}-py3-none-any.whl")
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


def test_the_former_module_of_the_local_emr_names_the_new_one():
    command = [sys.executable, "-m", "airflow_eip_provider.local_aws", "--port", "5055"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "pip install 'airflow-eip-provider[local]'" in ended.stderr
    assert "python -m local_emr" in ended.stderr
    assert ended.stderr.count("\n") <= 2
