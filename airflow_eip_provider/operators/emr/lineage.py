"""
OpenLineage: what a Spark job of a step is told of its Airflow task, and what a task says of its lease.

The stock ``EmrAddStepsOperator`` injects the parent since provider 9.36 (apache/airflow#70182), and no transport. Here
both work with every supported version, and the arguments of a step are the ones that the stock operator sends.
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
    """Return one of the options ``[openlineage] spark_inject_…``, which hold for all Spark operators."""
    return bool(conf.getboolean("openlineage", option, fallback=False))


def with_lineage(
    steps: Sequence[Mapping[str, Any]], context: Context, *, parent: bool, transport: bool
) -> list[dict[str, Any]]:
    """
    Return steps whose Spark jobs report to OpenLineage as parts of a task.

    A step with such properties of its own keeps them. Lineage that fails does not keep a step from running.

    :param parent: tell them which task and run they are parts of.
    :param transport: tell them where Airflow sends its events, with its credentials.
    """
    injected = [copy.deepcopy(dict(step)) for step in steps]
    if transport:
        _inject(injected, spark.inject_transport_information_into_spark_properties, context, unless=_TRANSPORT)
    if parent:
        _inject(injected, spark.inject_parent_job_information_into_spark_properties, context, unless=_PARENT)
    return injected


def _inject(steps: list[dict[str, Any]], properties_of: Any, context: Context, *, unless: str) -> None:
    """
    Put properties into the arguments of Spark steps.

    :param unless: what a property begins with that a step may have itself.
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
            log.info("Step '%s' has properties '%s…' of its own, and keeps them", step.get("Name", ""), unless)
            continue
        jar["Args"] = [arguments[0], *added, *arguments[1:]]


def lease_lineage(
    *, allocation_id: str, job_flow_id: str | None, public_ip: str | None = None, token: int | None = None
) -> Any:
    """
    Return what a task adds to its run in OpenLineage: the facet ``elasticIp``. It has no secrets.

    :param token: the fencing token of the lease, a number that says which lease it was.
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

        # By its name it would be taken for a secret.
        _additional_skip_redact = ["leaseToken"]  # noqa: RUF012 - as in OpenLineage's own

        allocationId: str = attr.field()  # noqa: N815 - OpenLineage's style
        jobFlowId: str | None = attr.field(default=None)  # noqa: N815
        publicIp: str | None = attr.field(default=None)  # noqa: N815
        leaseToken: int | None = attr.field(default=None)  # noqa: N815

    # Its annotations are text here, which attr.define would not resolve in a function.
    return attr.s(ElasticIpRunFacet, auto_attribs=False)
