"""
Builds the distributions into dist/ and checks them: ``make release-check``; with ``--tag`` also tags the commit.

It uploads nothing. CONTRIBUTING.md has the whole procedure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
_NAMES = ("airflow_eip_provider", "local_emr")
_PLACEHOLDER_HOST = ".invalid/"  # RFC 2606: no such host can exist
# Run with the installed wheels, without this repository on the path.
_INSPECT = r"""
import json
import re
from importlib.metadata import metadata
from pathlib import Path
import airflow_eip_provider, local_emr
folder = Path(airflow_eip_provider.__file__).parent
print(json.dumps({
    "version": airflow_eip_provider.__version__,
    "examples": sorted(path.relative_to(folder).as_posix() for path in folder.glob("example_dags/**/*.*")),
    "urls": len(metadata("airflow-eip-provider").get_all("Project-URL")),
    "links": re.findall(r"\]\(([^)]+)\)", metadata("airflow-eip-provider").get_payload()),
}))
"""


def _run(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    """
    Run a command and return its output.

    :raises SystemExit: when it fails, with its output.
    """
    words = [str(word) for word in command]
    done = subprocess.run(  # noqa: S603 - our own commands
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def build() -> list[Path]:
    """Build both distributions, remove older files of them, and return the new files."""
    DIST.mkdir(exist_ok=True)
    for name in _NAMES:
        for old in (*DIST.glob(f"{name}-*.whl"), *DIST.glob(f"{name}-*.tar.gz")):
            old.unlink()
    for project in (ROOT, ROOT / "local_emr"):
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, project)
    return sorted(path for name in _NAMES for path in DIST.glob(f"{name}-*"))


def check(files: list[Path]) -> None:
    """Check the metadata, and the wheels in an empty environment with the pinned versions of their dependencies."""
    _run(sys.executable, "-m", "twine", "check", "--strict", *files)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        python = home / "venv" / "bin" / "python"
        uv = (sys.executable, "-m", "uv")
        _run(*uv, "venv", "--quiet", "--python", sys.executable, home / "venv")
        wheels = [path for path in files if path.suffix == ".whl"]
        pins = ROOT / "requirements" / "dev.txt"
        _run(*uv, "pip", "install", "--quiet", "--python", python, "--constraint", pins, *wheels)
        _run(*uv, "pip", "check", "--python", python)
        installed = json.loads(_run(python, "-I", "-c", _INSPECT, cwd=home))
        shown_version = _run(python.with_name("airflow-eip"), "--version", cwd=home).strip()
        examples = list((ROOT / "dags").glob("**/*.[ps][yh]"))
        if shown_version != installed["version"] or len(installed["examples"]) != len(examples):
            problem = f"airflow-eip --version shows {shown_version}; {installed}"
            raise SystemExit(f"the installed packages are wrong: {problem}")
        relative = [link for link in installed["links"] if not link.startswith("https://")]
        if relative or not installed["links"]:
            raise SystemExit(f"links of the README that do not work on PyPI: {relative or 'there are no links'}")
        shown = _run(
            python.with_name("airflow"), "providers", "get", "airflow-eip-provider", "--full", "--output", "json",
            cwd=home, AIRFLOW_HOME=str(home / "airflow"), AIRFLOW__CORE__LOAD_EXAMPLES="False",
        )  # fmt: skip
        if "airflow_eip_provider.operators.emr" not in shown:
            raise SystemExit(f"Airflow does not show the provider: {shown}")


def version() -> str:
    """Return the provider's version."""
    text = (ROOT / "airflow_eip_provider" / "__init__.py").read_text("utf-8")
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if match is None:
        raise SystemExit("airflow_eip_provider/__init__.py has no __version__")
    return match[1]


def problems() -> list[str]:
    """Return the reasons why this commit cannot be published."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    reasons = []
    if _PLACEHOLDER_HOST in project:
        reasons.append("pyproject.toml names no repository yet: [project.urls] and the links of the README")
    if not re.search(rf"^## {re.escape(version())} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        reasons.append(f'CHANGELOG.md has no heading "## {version()} (YEAR-MONTH-DAY)"')
    if _run("git", "status", "--porcelain"):
        reasons.append("there are changes that are not committed")
    if _run("git", "tag", "--list", f"v{version()}"):
        reasons.append(f"the tag v{version()} exists already")
    return reasons


def main() -> int:
    """Build, check, and tag if asked to; return the exit status."""
    parser = argparse.ArgumentParser(description="Builds and checks the distributions; see CONTRIBUTING.md, Release.")
    parser.add_argument("--tag", action="store_true", help="tag the commit if it can be published")
    options = parser.parse_args()
    if options.tag and (reasons := problems()):
        print("not tagged:", *reasons, sep="\n  ", file=sys.stderr)
        return 1
    files = build()
    check(files)
    print(*(f"built and checked: {path.relative_to(ROOT)}" for path in files), sep="\n")
    if options.tag:
        _run("git", "tag", "--annotate", f"v{version()}", "--message", f"airflow-eip-provider {version()}")
        print(f"tagged v{version()}: push it with git push --tags, and upload dist/ (CONTRIBUTING.md)")
    elif reasons := problems():
        print("before it is published:", *reasons, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
