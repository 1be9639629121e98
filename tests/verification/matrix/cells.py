"""The cells of the support matrix: each a Python and an Airflow with its Amazon provider, and its installation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.pythons import interpreter
from tests.verification.mwaa.image import CONSTRAINTS, Image

ROOT = Path(__file__).resolve().parents[3]
PINS = ROOT / "requirements" / "dev.txt"
_UV = (sys.executable, "-m", "uv")
# The tests' packages besides those of the provider, in the versions that MWAA's constraints allow.
_TOOLS = (
    *("asyncpg", "hypothesis", "httpx", "policy-sentry", "psycopg2-binary", "pymssql", "python-tds"),
    *("pytest", "pytest-randomly", "pytest-xdist", "uv"),
)


class SkippedError(Exception):
    """A cell cannot be run on this machine; the message has the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """
    One cell.

    :param title: its name for users.
    :param python: e.g. "3.12".
    :param mwaa: the version of Amazon MWAA whose packages it has; empty for the pins of the development environment.
    :param end_to_end: whether a daily run on a real Airflow is tested, too.
    :param strict: whether a warning fails a test; not with older packages, which cause warnings.
    """

    name: str
    title: str
    python: str
    mwaa: str = ""
    end_to_end: bool = False
    strict: bool = False

    def build(self, venv: Path) -> None:
        """
        Create the cell's environment.

        :raises SkippedError: when that is not possible on this machine.
        """
        python = interpreter(self.python)
        if python is None:
            raise SkippedError(f"there is no Python {self.python} on this machine")
        if self.mwaa:
            _build_mwaa(self.mwaa, venv, python)
        else:
            run(*_UV, "venv", "--quiet", "--clear", "--python", python, venv)
            uv_install(venv, "--requirement", PINS, "uv")  # `make setup` installs uv before the pins, too
            uv_install(venv, "--no-deps", "--editable", ROOT, "--editable", ROOT / "local_emr")


def _mwaa(version: str, *, end_to_end: bool = False) -> Cell:
    title = f"pins of Amazon MWAA {version}"
    return Cell(name=f"mwaa-{version}", title=title, python="3.12", mwaa=version, end_to_end=end_to_end)


CELLS = (
    _mwaa("2.11.2", end_to_end=True),
    _mwaa("3.0.6", end_to_end=True),
    _mwaa("3.2.1"),
    _mwaa("3.3.1"),
    Cell(name="newest-py3.11", title="newest", python="3.11", end_to_end=True, strict=True),
    Cell(name="newest-py3.13", title="newest", python="3.13"),
)


def _build_mwaa(version: str, venv: Path, python: str) -> None:
    """Install the packages of an Amazon MWAA environment, and the tests' packages, which must not change them."""
    image = Image(version=version, python=venv / "bin" / "python", home=venv)
    if not image.constraints.is_file():
        raise SkippedError(f"MWAA's constraints files are not in {CONSTRAINTS}; MWAA_CONSTRAINTS names another folder")
    run("rm", "-rf", venv)
    image.build(python)
    before = image.packages()
    pins = venv / "image.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in before.items()), encoding="utf-8")
    livy = re.findall(r"^apache-airflow-providers-apache-livy==.*$", image.constraints.read_text(), re.MULTILINE)
    uv_install(venv, "--constraint", pins, "--editable", f"{ROOT}[livy,local]", *livy, *_TOOLS)
    after = image.packages()
    if changed := {name for name in before if after.get(name) != before[name]}:
        raise AssertionError(f"the tests' packages changed those of MWAA {version}: {sorted(changed)}")


def installed(venv: Path, *packages: str) -> tuple[str, ...]:
    """Return the versions of packages in a virtual environment."""
    code = f"import importlib.metadata as m; print(*(m.version(name) for name in {packages!r}))"
    return tuple(run(venv / "bin" / "python", "-c", code).split())


def uv_install(venv: Path, *arguments: object) -> None:
    run(*_UV, "pip", "install", "--quiet", "--python", venv / "bin" / "python", *arguments)


def run(*command: object) -> str:
    """
    Run a command and return its output.

    :raises RuntimeError: when it fails.
    """
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    words = [str(word) for word in command]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    return ended.stdout
