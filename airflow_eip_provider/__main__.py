# PYTHON_ARGCOMPLETE_OK
"""``python -m airflow_eip_provider``: the same as ``airflow-eip``."""

from __future__ import annotations

from airflow_eip_provider.cli.__main__ import script

if __name__ == "__main__":
    script()
