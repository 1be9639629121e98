"""
Builds the files for an Amazon MWAA environment: ``python deploy/mwaa/build.py --output dist/mwaa``.

docs/mwaa.md describes the use of each file. The files do not depend on MWAA's version of Airflow: the wheel is pure
Python, and its dependencies are installed in every version of MWAA (the Amazon provider with aiobotocore).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Where MWAA unpacks plugins.zip, before it installs the requirements.
PLUGINS = "/usr/local/airflow/plugins"
_CONSTRAINTS = "constraints.txt"
_LIVY_DAG = "emr_livy_batch.py"
# A fixed time of every entry, so that the same sources make the same plugins.zip.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)

_OPTIONS = {
    "eip.environment": "my-environment",
    "eip.lock_store": "dynamodb://airflow-eip-leases",
}


def build(output: Path, *, constraints: Path | None = None, livy: bool = False) -> None:
    """
    Write all files for MWAA into a folder, and replace its content.

    :param output: the folder.
    :param constraints: a pip constraints file for plugins.zip and the requirements. Without one, MWAA adds the
        constraints of its version.
    :param livy: whether to include the extra ``livy`` and its DAG. MWAA then installs the Livy provider from a package
        index, so there is no requirements file for an environment without Internet access.
    """
    wheel, content = _wheel()
    entries = {wheel: content} | ({_CONSTRAINTS: constraints.read_bytes()} if constraints else {})
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    (output / wheel).write_bytes(content)
    with zipfile.ZipFile(output / "plugins.zip", "w", zipfile.ZIP_DEFLATED) as plugins:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.external_attr = 0o644 << 16
            plugins.writestr(entry, data, zipfile.ZIP_DEFLATED)
    head = [f'--constraint "{PLUGINS}/{_CONSTRAINTS}"'] if constraints else []
    _, version, _ = wheel.split("-", 2)
    # The path prevents the installation of a package of the same name from an index.
    if livy:
        _write(output / "requirements.txt", [*head, f"airflow-eip-provider[livy] @ file://{PLUGINS}/{wheel}"])
    else:
        _write(output / "requirements.txt", [*head, f"{PLUGINS}/{wheel}"])
        offline = [*head, f"--find-links {PLUGINS}", "--no-index", f"airflow-eip-provider=={version}"]
        _write(output / "requirements-no-internet.txt", offline)
    (output / "airflow-options.json").write_text(json.dumps(_OPTIONS, indent=2) + "\n")
    # The jobs run on the cluster, which fetches them from S3; Airflow does not need them.
    omitted = ("jobs", "__pycache__", *(() if livy else (_LIVY_DAG,)))
    shutil.copytree(ROOT / "dags", output / "dags", ignore=shutil.ignore_patterns(*omitted))
    shutil.copytree(ROOT / "dags" / "jobs", output / "jobs", ignore=shutil.ignore_patterns("__pycache__"))


def _wheel() -> tuple[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder, str(ROOT)]
        subprocess.run(command, check=True)  # noqa: S603 - our own command
        [wheel] = Path(folder).glob("*.whl")
        return wheel.name, wheel.read_bytes()


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def main() -> None:
    """Build the files and print their names."""
    parser = argparse.ArgumentParser(description="Builds the files for an Amazon MWAA environment; see docs/mwaa.md.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "mwaa", help="replaced; default: dist/mwaa")
    parser.add_argument("--constraints", type=Path, help="a constraints file for plugins.zip and the requirements")
    parser.add_argument("--livy", action="store_true", help="include the extra livy, which MWAA installs, and its DAG")
    arguments = parser.parse_args()
    if arguments.constraints and not arguments.constraints.is_file():
        parser.error(f"--constraints: the file {arguments.constraints} does not exist")
    if arguments.output.exists() and not (arguments.output / "plugins.zip").is_file():
        parser.error(f"--output: {arguments.output} exists and was not made by this script; name another or remove it")
    build(arguments.output, constraints=arguments.constraints, livy=arguments.livy)
    for path in sorted(arguments.output.rglob("*")):
        if path.is_file():
            print(path)


if __name__ == "__main__":
    main()
