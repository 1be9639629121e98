"""
Where a cluster's Elastic IP is: on its primary node, or on a NAT gateway that all its nodes use.

Give one of these to an operator: ``binding=NatGateway(public_subnet_id="subnet-…", route_table_ids=["rtb-…"])``.
"""

from dataclasses import replace
from typing import Any

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.operators.bindings.interface import Binding
from airflow_eip_provider.operators.bindings.nat_gateway import NatGateway
from airflow_eip_provider.operators.bindings.primary_node import PrimaryNode

__all__ = ["Binding", "NatGateway", "PrimaryNode", "checked_binding"]


def checked_binding(value: object) -> Binding:
    """Return an operator's ``binding``; a mapping, or a string that contains one, has a NAT gateway's parameters."""
    given: Any = parse_literal(value)
    if given in (None, "", "None"):
        return PrimaryNode()
    try:
        binding: Binding = given if isinstance(given, Binding) else NatGateway(**given)
    except TypeError as error:
        raise InvalidInputError(
            f"checking binding {value!r}",
            problem=f"this is not a binding: {error}",
            remedy="give PrimaryNode(), NatGateway(...), or a mapping with NatGateway's parameters",
        ) from error
    if isinstance(binding, NatGateway):
        tables: Any = parse_literal(binding.route_table_ids)  # a template may have rendered the list as text
        return replace(binding, route_table_ids=tables)
    return binding
