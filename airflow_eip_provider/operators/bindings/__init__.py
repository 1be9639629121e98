"""
Where the Elastic IP is put for a cluster: on the primary node, or on a NAT gateway for every node of the cluster.

Give one of these to an operator: ``binding=NatGateway(public_subnet_id="subnet-…", route_table_ids=["rtb-…"])``.
"""

from dataclasses import replace
from typing import Any

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.bindings.interface import Binding
from airflow_eip_provider.operators.bindings.nat_gateway import NatGateway
from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode
from airflow_eip_provider.operators.preflight import parse_literal

__all__ = ["Binding", "NatGateway", "PrimaryNode", "checked_binding"]


def checked_binding(value: object) -> Binding:
    """
    Return an operator's ``binding``; a mapping, or a string that spells one, holds a NAT gateway's parameters.

    :raises InvalidInputError: for anything else.
    """
    given = parse_literal(value)
    if isinstance(given, NatGateway):
        return _with_listed_tables(given)
    if isinstance(given, Binding):
        return given
    if given in (None, "", "None"):
        return PrimaryNode()
    try:
        return _with_listed_tables(NatGateway(**given))  # type: ignore[arg-type]
    except TypeError as error:
        raise InvalidInputError(
            f"checking binding {value!r}",
            problem=f"it is no binding: {error}",
            remedy="give PrimaryNode(), NatGateway(...), or a mapping with NatGateway's parameters",
        ) from error


def _with_listed_tables(binding: NatGateway) -> NatGateway:
    """Read route tables that a template rendered to the text of a list."""
    tables: Any = parse_literal(binding.route_table_ids)
    return replace(binding, route_table_ids=tables)
