"""Starts a program in the bootstrap action: ``python3 programs.pyz PROGRAM …``."""

import sys
from importlib import import_module

if __name__ == "__main__":
    program = import_module(f"airflow_eip_provider.bootstrap_action.{sys.argv.pop(1)}")
    sys.exit(program.main())
