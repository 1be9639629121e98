"""What the checks of a drill have in common: when a check does not apply, and findings about services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding


class NotApplicable(Exception):  # noqa: N818 - it is not an error
    """There is nothing to check; the message says why."""


def find_silent_services(
    resources: Resources, instance: Instance | None, cluster: str, *, why: str, remedy: str
) -> Iterator[Finding]:
    """Yield a warning for each service of a primary node that does not answer."""
    if not resources.plan.http_checks:
        raise NotApplicable("no service is checked (--service none)")
    if instance is None:
        raise NotApplicable("no primary node is known")
    for result in resources.check_services(instance):
        if result.failed:
            yield warning(f"service '{result.check}' of {cluster}", what=result.problem, why=why, remedy=remedy)
