"""The virtual environment of the lock clients, separate from the project's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BENCH = Path(__file__).resolve().parent.parent
_REQUIREMENTS = _BENCH / "requirements.txt"
_VENV = _BENCH.parent / ".bench" / "venv"


def python_of_clients() -> Path:
    """
    Return the Python that has the clients of ``requirements.txt``; install them first if needed.

    :raises OSError: when they cannot be installed.
    """
    python, installed = _VENV / "bin" / "python", _VENV / "requirements.txt"
    requirements = _REQUIREMENTS.read_text(encoding="utf-8")
    if not installed.exists() or installed.read_text(encoding="utf-8") != requirements:
        uv = (sys.executable, "-m", "uv")
        _run(*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(_VENV))
        _run(*uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(_REQUIREMENTS))
        installed.write_text(requirements, encoding="utf-8")
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - uv, with fixed words
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise OSError(f"not installed: {last[0]}")
