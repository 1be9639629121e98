"""The cells of the support matrix: each a Python and an Airflow with its Amazon provider, and how it is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.pythons import interpreter
from tests.verification.mwaa.image import CONSTRAINTS, Image

ROOT = Path(__file__).resolve().parents[3]
PINS = ROOT / "requirements" / "dev.txt"
_UV = (sys.executable, "-m", "uv")
# What the tests need beside the package; in the versions that MWAA's constraints allow.
_TOOLS = (
    "asyncpg",
    "hypothesis",
    "httpx",
    "policy-sentry",
    "psycopg2-binary",
    "pymssql",
    "pytest",
    "pytest-randomly",
    "pytest-xdist",
    "python-tds",
)


class SkippedError(Exception):
    """A cell cannot be run on this machine; the message has the reason."""


class Installation(Protocol):
    """How a cell's environment is installed."""

    def install(self, venv: Path, python: str) -> None:
        """
        Make a virtual environment with everything that the tests need.

        :raises SkippedError: when that is not possible on this machine.
        """


@dataclass(frozen=True, slots=True)
class Pinned:
    """The newest versions, which are those of the development environment."""

    def install(self, venv: Path, python: str) -> None:
        run(*_UV, "venv", "--quiet", "--clear", "--python", python, venv)
        uv_install(venv, "--requirement", PINS)
        uv_install(venv, "--no-deps", "--editable", ROOT, "--editable", ROOT / "local_emr")


@dataclass(frozen=True, slots=True)
class Mwaa:
    """The packages of an Amazon MWAA environment; what the tests need beside them must not change their versions."""

    version: str

    def install(self, venv: Path, python: str) -> None:
        image = Image(version=self.version, python=venv / "bin" / "python", home=venv)
        if not image.constraints.is_file():
            raise SkippedError(
                f"MWAA's constraints files are not in {CONSTRAINTS}; MWAA_CONSTRAINTS names another folder"
            )
        run("rm", "-rf", venv)
        image.build(python)
        before = image.packages()
        pins = venv / "image.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in before.items()), encoding="utf-8")
        livy = re.findall(r"^apache-airflow-providers-apache-livy==.*$", image.constraints.read_text(), re.MULTILINE)
        uv_install(venv, "--constraint", pins, "--editable", f"{ROOT}[livy,local]", *livy, *_TOOLS)
        if changed := {name for name, version in before.items() if image.packages().get(name) != version}:
            raise AssertionError(f"the tests' packages changed those of MWAA {self.version}: {sorted(changed)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """
    One cell.

    :param title: its name for users.
    :param python: e.g. "3.12".
    :param end_to_end: whether a daily run on a real Airflow is tested, too.
    :param strict: whether a warning fails a test; not with older packages, which give warnings of their own.
    """

    name: str
    title: str
    python: str
    installation: Installation
    end_to_end: bool = False
    strict: bool = False

    def build(self, venv: Path) -> None:
        """
        Make the cell's environment.

        :raises SkippedError: when that is not possible on this machine.
        """
        python = interpreter(self.python)
        if python is None:
            raise SkippedError(f"there is no Python {self.python} on this machine")
        self.installation.install(venv, python)


CELLS = (
    Cell(
        name="mwaa-2.11.2",
        title="pins of Amazon MWAA 2.11.2",
        python="3.12",
        installation=Mwaa("2.11.2"),
        end_to_end=True,
    ),
    Cell(
        name="mwaa-3.0.6", title="pins of Amazon MWAA 3.0.6", python="3.12", installation=Mwaa("3.0.6"), end_to_end=True
    ),
    Cell(name="mwaa-3.2.1", title="pins of Amazon MWAA 3.2.1", python="3.12", installation=Mwaa("3.2.1")),
    Cell(name="mwaa-3.3.1", title="pins of Amazon MWAA 3.3.1", python="3.12", installation=Mwaa("3.3.1")),
    Cell(name="newest-py3.11", title="newest", python="3.11", installation=Pinned(), end_to_end=True, strict=True),
    Cell(name="newest-py3.13", title="newest", python="3.13", installation=Pinned()),
)


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
    made = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if made.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {made.returncode}:\n{made.stderr[-3000:]}")
    return re.sub(r"\s+", " ", made.stdout).strip()
