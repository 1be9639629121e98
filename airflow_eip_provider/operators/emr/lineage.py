"""
OpenLineage: the properties of a step's Spark jobs, and the facet of a task about its lease.

The stock ``EmrAddStepsOperator`` injects the parent job since provider 9.36 (apache/airflow#70182), but no transport.
Here both work with every supported version, and the step arguments equal those of the stock operator.
"""

from __future__ import annotations

import copy
import functools
import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.openlineage.utils import spark

from airflow_eip_provider.airflow_compat import conf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context

log = logging.getLogger(__name__)

_COMMAND_RUNNER = "command-runner.jar"
_SPARK_COMMANDS = frozenset({"run-example", "spark-submit"})
_PARENT, _TRANSPORT = "spark.openlineage.parent", "spark.openlineage.transport"


def configured(option: str) -> bool:
    """Return an option ``[openlineage] spark_inject_…``, which applies to all Spark operators."""
    return bool(conf.getboolean("openlineage", option, fallback=False))


def with_lineage(
    steps: Sequence[Mapping[str, Any]], context: Context, *, parent: bool, transport: bool
) -> list[dict[str, Any]]:
    """
    Return the steps with OpenLineage properties for their Spark jobs.

    A step that sets such properties itself keeps them. An error of OpenLineage does not keep a step from running.

    :param parent: inject the task and run as the parent job.
    :param transport: inject Airflow's own transport, with its credentials.
    """
    injected = [copy.deepcopy(dict(step)) for step in steps]
    if transport:
        _inject(injected, spark.inject_transport_information_into_spark_properties, context, unless=_TRANSPORT)
    if parent:
        _inject(injected, spark.inject_parent_job_information_into_spark_properties, context, unless=_PARENT)
    return injected


def _inject(steps: list[dict[str, Any]], properties_of: Any, context: Context, *, unless: str) -> None:
    """
    Add properties to the arguments of Spark steps.

    :param unless: the prefix of properties that a step may set itself.
    """
    try:
        properties = properties_of({}, context)
    except Exception:
        log.exception("OpenLineage gave no properties for the steps; they are submitted without")
        return
    added = [argument for name, value in properties.items() for argument in ("--conf", f"{name}={value}")]
    for step in steps:
        jar = step["HadoopJarStep"]
        arguments = list(jar.get("Args") or ())
        if str(jar.get("Jar", "")).rsplit("/", 1)[-1] != _COMMAND_RUNNER or not arguments:
            continue
        if arguments[0].rsplit("/", 1)[-1] not in _SPARK_COMMANDS:
            continue
        if any(unless in argument for argument in arguments):
            log.info("Step '%s' sets properties '%s…' itself, and keeps them", step.get("Name", ""), unless)
            continue
        jar["Args"] = [arguments[0], *added, *arguments[1:]]


def lease_lineage(
    *, allocation_id: str, job_flow_id: str | None, public_ip: str | None = None, token: int | None = None
) -> Any:
    """
    Return the facet ``elasticIp`` of a task's OpenLineage run. It has no secrets.

    :param token: the fencing token, a number that identifies the lease.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage  # an optional package

    facet = _facet_class()(allocationId=allocation_id, jobFlowId=job_flow_id, publicIp=public_ip, leaseToken=token)
    return OperatorLineage(run_facets={"elasticIp": facet})


@functools.cache
def _facet_class() -> Any:
    import attr  # as below
    from openlineage.client.facet_v2 import RunFacet  # comes with the OpenLineage provider

    class ElasticIpRunFacet(RunFacet):
        """The Elastic IP of a run."""

        # OpenLineage redacts fields with such a name.
        _additional_skip_redact = ["leaseToken"]  # noqa: RUF012 - as in OpenLineage's own

        allocationId: str = attr.field()  # noqa: N815 - OpenLineage's style
        jobFlowId: str | None = attr.field(default=None)  # noqa: N815
        publicIp: str | None = attr.field(default=None)  # noqa: N815
        leaseToken: int | None = attr.field(default=None)  # noqa: N815

    # The annotations are strings here, which attr.define does not resolve inside a function.
    return attr.s(ElasticIpRunFacet, auto_attribs=False)
