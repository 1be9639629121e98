"""The package ``lease`` needs no Airflow, no boto3 and no other installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import airflow_eip_provider

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import airflow_eip_provider.lease as lease
names = [module.name for module in pkgutil.iter_modules(lease.__path__)]
for name in names:
    importlib.import_module(f"{lease.__name__}.{name}")
print(len(names), *sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names))
"""


def test_the_lock_imports_with_the_standard_library_alone():
    """``-S`` hides installed packages, so any import of one would fail."""
    root = str(Path(airflow_eip_provider.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT_ALL, root], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    count, *others = run.stdout.split()
    assert int(count) >= 4
    assert set(others) <= {"airflow_eip_provider", "__main__"}
