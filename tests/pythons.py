"""The Python interpreters of this machine."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path


@functools.cache
def interpreter(version: str) -> str | None:
    """
    Return an interpreter of a Python version, if this machine has one.

    :param version: e.g. "3.12".
    """
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in (sys.executable, f"python{version}", *installed):
        try:
            asked = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if asked.stdout.strip() == version:
            return str(candidate)
    return None
