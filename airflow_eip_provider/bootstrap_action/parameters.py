"""Reads a ``parametersValues.json`` on the node and prints the address and the VPC; needs only Python 3.7."""

from __future__ import annotations

import sys

from airflow_eip_provider.exceptions import UsageError
from airflow_eip_provider.parameters_file import read_parameters

WRONG = 2


def main() -> int:
    """Print the values of the file; return exit status 2 when it is wrong."""
    try:
        parameters = read_parameters(sys.argv[1])
    except UsageError as error:
        print(error, file=sys.stderr)
        return WRONG
    print(parameters.allocation_id, parameters.vpc_id)
    return 0
