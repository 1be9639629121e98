"""
An Amazon MWAA environment with the packages of its public image (aws/amazon-mwaa-docker-images), without a container.

The image installs its packages with two constraints files: Airflow's for that version, and a short one of essential
packages. When an environment starts, plugins.zip is unpacked, and then pip installs the requirements. The essential
constraints always apply; Airflow's apply unless the requirements name constraints.

The constraints files, ``images/airflow/VERSION/etc/``, are expected in ``shared/mwaa`` next to this source tree, or in
the folder that MWAA_CONSTRAINTS names: ``airflow_constraints.txt`` as ``constraints-VERSION.txt`` and
``mwaa_essential_constraints.txt`` as ``essential-constraints-VERSION.txt``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CONSTRAINTS = Path(os.environ.get("MWAA_CONSTRAINTS", ROOT.parent / "shared" / "mwaa"))
PLUGINS = "/usr/local/airflow/plugins"

# The packages of the images without psycopg2 and pycurl, which must be compiled and are not needed by the tests.
_PACKAGES = (
    "apache-airflow-providers-amazon[aiobotocore]",
    "apache-airflow-providers-postgres",
    "celery[sqs]",
    "boto3-stubs[logs,sqs]",
    "watchtower",
    "fluent-logger",
    "virtualenv",
)
_UV = (sys.executable, "-m", "uv")  # faster than pip, for packages that MWAA's installer does not install
_PACKAGES_3 = ("apache-airflow-providers-fab", "apache-airflow-providers-standard")
# In a comment, too: that is the way to ask for no constraints.
_NAMES_CONSTRAINTS = re.compile(r"-c |--constraint ")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The Python environment of one version, and the folder that replaces ``/usr/local/airflow``."""

    version: str
    python: Path
    home: Path

    @property
    def plugins(self) -> Path:
        return self.home / "plugins"

    @property
    def constraints(self) -> Path:
        return CONSTRAINTS / f"constraints-{self.version}.txt"

    @property
    def essential(self) -> Path:
        return CONSTRAINTS / f"essential-constraints-{self.version}.txt"

    def build(self, base_python: str) -> None:
        _run([*_UV, "venv", "--quiet", "--seed", "--python", base_python, self.python.parents[1]])
        packages = [f"apache-airflow[celery,statsd]=={self.version}", *_PACKAGES]
        packages += _PACKAGES_3 if self.version >= "3" else ()
        constraints = ["--constraint", self.essential, "--constraint", self.constraints]
        self.uv("install", "--quiet", *constraints, *packages)

    def packages(self) -> dict[str, str]:
        """Return the versions of the installed packages by their normalized names."""
        return {entry["name"]: entry["version"] for entry in json.loads(self.uv("list", "--format", "json").stdout)}

    def essential_packages(self) -> dict[str, str]:
        """Return the essential constraints on installed packages, in the form of :meth:`packages`."""
        lines = re.findall(r"^([\w.-]+)==(\S+)", self.essential.read_text(), re.MULTILINE)
        pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}
        installed = self.packages()
        return {name: version for name, version in pins.items() if name in installed}

    def unpack(self, plugins_zip: Path) -> None:
        with zipfile.ZipFile(plugins_zip) as plugins:
            plugins.extractall(self.plugins)

    def install(self, requirements: Path, *, internet: bool) -> subprocess.CompletedProcess[str]:
        """
        Install requirements as an environment does when it starts.

        :param internet: if ``False``, pip uses only indexes and folders of packages that the requirements name.
        """
        text = requirements.read_text()
        copy = self.home / "requirements.txt"
        copy.write_text(text.replace(PLUGINS, str(self.plugins)))
        constraints = ["--constraint", self.essential]
        if not _NAMES_CONSTRAINTS.search(text):
            constraints += ["-c", self.constraints]
        environment = None
        if not internet:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
            environment["PIP_CONFIG_FILE"] = os.devnull
        return self.run("-I", "-m", "pip", "install", *constraints, "-r", copy, check=False, env=environment)

    def run(
        self, *arguments: object, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return _run([self.python, *arguments], check=check, env=env)

    def uv(self, command: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return _run([*_UV, "pip", command, "--python", self.python, *arguments], check=check)


def _run(
    command: list[object], *, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    made = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, env=env)
    if check and made.returncode:
        raise AssertionError(f"{command} ended with {made.returncode}:\n{made.stdout[-2000:]}\n{made.stderr[-4000:]}")
    return made
