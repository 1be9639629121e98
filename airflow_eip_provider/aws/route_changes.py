"""Changes of the default routes of route tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import IgnoreCodes, error_code
from airflow_eip_provider.aws.lag import until_answered
from airflow_eip_provider.aws.routes import ANYWHERE, NO_ROUTE, NO_SUCH_TABLE, ROUTE_PARAMETERS, read_table
from airflow_eip_provider.exceptions import ElasticIpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.aws.routes import RouteTable

log = logging.getLogger(__name__)


def set_default_route(
    conn: Any, table_id: str, *, target: str, check: Callable[[RouteTable], None], pause: Callable[[float], None]
) -> None:
    """
    Set the default route of a table, unless it already has this target (ec2:CreateRoute, ec2:ReplaceRoute).

    :param conn: a boto3 client of EC2.
    :param target: the ID of the new target.
    :param check: raises an error if the present route must stay. As a read may show an old route, it counts only when
        it is raised for as long as reads may lag.
    :param pause: waits for some seconds.
    :raises ElasticIpError: as ``check`` does.
    """

    def is_refused(error: Exception) -> bool:
        # RouteAlreadyExists is also the answer to botocore's retry after a lost response. Otherwise the read does not
        # show the route yet, which must be checked before it is replaced.
        already = isinstance(error, ClientError) and error_code(error) == "RouteAlreadyExists"
        return isinstance(error, ElasticIpError) or already

    until_answered(
        lambda: _set_default_route(conn, table_id, target=target, check=check), may_end=is_refused, pause=pause
    )


def _set_default_route(conn: Any, table_id: str, *, target: str, check: Callable[[RouteTable], None]) -> None:
    table = read_table(conn, table_id)
    if table is not None:
        if table.default_route == target:
            return
        check(table)
    log.info("Setting the default route of %s to %s", table_id, target)
    has_route = table is not None and table.default_route != NO_ROUTE
    change = conn.replace_route if has_route else conn.create_route
    change(RouteTableId=table_id, DestinationCidrBlock=ANYWHERE, **_parameter(target))


def restore_default_route(conn: Any, table_id: str, *, before: str, instead_of: str) -> bool:
    """
    Restore the default route of a table (ec2:ReplaceRoute, ec2:DeleteRoute).

    :param before: the previous target, or :data:`NO_ROUTE`. If it no longer exists, or is detached from the VPC
        (InvalidParameterValue), the route is deleted.
    :param instead_of: the present target. A route with any other target was changed by others, and is left as it is.
    :return: ``False`` if the read shows the route as it may have been before it was changed to ``instead_of``: a later
        read may show that it has yet to be restored.
    """
    table = read_table(conn, table_id)
    if table is None:
        return True
    if table.default_route != instead_of:
        # A route to a deleted target was replaced as well, if an earlier cluster left it behind.
        return not (table.default_route == before or table.is_blackhole)
    log.info("Setting the default route of %s back to %s", table_id, before)
    if before != NO_ROUTE:
        try:
            conn.replace_route(RouteTableId=table_id, DestinationCidrBlock=ANYWHERE, **_parameter(before))
        except ClientError as error:
            if error_code(error) != "InvalidParameterValue" and not error_code(error).endswith("NotFound"):
                raise
            # Otherwise the gateway would keep the address, and every following job would fail in the same way.
            log.warning("EC2 refuses %s as the default route of %s, which now has none: %s", before, table_id, error)
        else:
            return True
    with IgnoreCodes("InvalidRoute.NotFound", NO_SUCH_TABLE):
        conn.delete_route(RouteTableId=table_id, DestinationCidrBlock=ANYWHERE)
    return True


def _parameter(target: str) -> dict[str, str]:
    prefix = next(prefix for prefix in sorted(ROUTE_PARAMETERS, key=len, reverse=True) if target.startswith(prefix))
    return {ROUTE_PARAMETERS[prefix]: target}
