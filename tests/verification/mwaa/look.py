"""Prints an Airflow process's view of the package and of a folder of DAGs as JSON; run by its own Python."""

from __future__ import annotations

import importlib
import json
import sys

from airflow.providers_manager import ProvidersManager

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow < 3.2
    from airflow.models.dagbag import DagBag

provider = ProvidersManager().providers["airflow-eip-provider"]
info = provider.data
modules = [
    module
    for kind in ("operators", "sensors", "hooks", "triggers")
    for entry in info[kind]
    for module in entry["python-modules"]
]
imported, missing = [], {}
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:  # an extra
        missing[module] = str(error)
    else:
        imported.append(module)

bag = DagBag(sys.argv[1])
print(  # noqa: T201 - for the test to read
    json.dumps(
        {
            "version": provider.version,
            "modules": imported,
            "missing": missing,
            "errors": bag.import_errors,
            "dags": {dag_id: dag.fileloc for dag_id, dag in bag.dags.items()},
        }
    )
)
