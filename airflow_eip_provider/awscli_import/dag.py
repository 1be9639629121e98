"""The DAG file for an imported cluster."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.releases import auto_termination, release_name

if TYPE_CHECKING:
    from datetime import date

    from airflow_eip_provider.awscli_import.job_flow import Imported

_LINE_LENGTH = 88
_INDENT = 4
# What Airflow would render as a template, or read as the name of a template file.
_TEMPLATE = re.compile(r"\{\{|\{%|\{#|\r|\n\Z|\.json\Z")
_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_IN_A_DAG_ID = re.compile(r"[^\w.-]+", re.ASCII)
# Airflow's rule for keys.
_LONGEST_DAG_ID = 250
_DAG_ID = re.compile(rf"[\w.-]{{1,{_LONGEST_DAG_ID}}}")
# Presets of Airflow that cron does not have. A cron expression has 5 fields, or 6 with seconds.
_PRESETS = {"@once", "@continuous", "@quarterly"}
_MOST_FIELDS = 6

_LIMIT = "execution_timeout=timedelta(minutes=90)"
_LIMIT_COMMENT = """\
        # For each try. Set it above what the steps ever take; without it, a hung step would
        # keep the address for a day.
"""

_FILE = '''\
"""{title}

Made from an `aws emr create-cluster` command by `airflow-eip import-cluster`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_eip_provider.task_groups.emr import StaticIpCluster

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow.models import DAG

# RunJobFlow's parameters, as the AWS CLI sends them.
JOB_FLOW_OVERRIDES = {overrides}
{steps}
with (
    DAG(
        {dag_id},
        schedule={schedule},
        start_date=datetime({start}, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        default_args={{"retries": 2, "retry_delay": timedelta(minutes=1)}},
        tags=["eip"],
    ),
    StaticIpCluster(
        "cluster",
{arguments}
    ) as cluster,
):
    # Add everything else that needs the address here.
    {block}
'''


@dataclass(frozen=True, slots=True)
class DagOptions:
    """
    The parts of the DAG that are not in the command.

    :param schedule: as in a DAG, cron or "@daily"; ``None`` for manual runs only.
    :param start: the first day.
    :param multi_node: the cluster has core or task nodes.
    """

    dag_id: str
    allocation_id: str
    region: str
    schedule: str | None
    start: date
    multi_node: bool = False


def dag_id_of(name: str) -> str:
    """Return a DAG id made from the name of a cluster."""
    return _NOT_IN_A_DAG_ID.sub("_", name.lower()).strip("_")[:_LONGEST_DAG_ID] or "emr_cluster"


def is_dag_id(text: str) -> bool:
    """Whether Airflow accepts this as the id of a DAG."""
    return _DAG_ID.fullmatch(text) is not None


def is_schedule(text: str) -> bool:
    """Whether Airflow accepts this as a schedule: one of its presets, or a cron expression."""
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - Airflow installs it

    return text in _PRESETS or (len(text.split()) <= _MOST_FIELDS and bool(croniter.is_valid(text)))


def password_variable(dag_id: str, name: str) -> str:
    """Return the name of the Airflow Variable that holds a password of ``KerberosAttributes``."""
    words = _NEXT_WORD.sub("_", name).lower()
    return f"{_NOT_IN_A_DAG_ID.sub('_', dag_id)}_{words}"


def dag_source(imported: Imported, options: DagOptions) -> str:
    """Return the text of a DAG file, in which Airflow's templating leaves every value as it is."""
    overrides = _as_templates(copy.deepcopy(imported.overrides))
    for name in imported.passwords:
        template = f"{{{{ var.value.get({password_variable(options.dag_id, name)!r}) }}}}"
        overrides["KerberosAttributes"][name] = template
    arguments = {
        "allocation_id": options.allocation_id,
        "emr_conn_id": None,
        "region_name": options.region,
        "deferrable": True,
    }
    lines = [f"        {name}={_literal(value)}," for name, value in arguments.items()]
    lines.insert(1, "        job_flow_overrides=JOB_FLOW_OVERRIDES,")
    lines[2] += "  # nothing is added from an EMR connection"
    if auto_termination(imported.overrides) == "none":
        release = _escaped(release_name(imported.overrides))
        lines += [
            f"        # {release}: EMR does not terminate idle clusters; run the reaper.",
            "        idle_timeout=None,",
        ]
    if options.multi_node:
        lines += [
            "        # Only the primary node has the address; core and task nodes connect from other addresses.",
            '        on_multi_node="warn",',
        ]
    steps, block = "", f"# cluster.steps([...], {_LIMIT})\n    pass"
    if imported.steps:
        steps = f"\nSTEPS = {_literal(_as_templates(imported.steps), used=len('STEPS = '))}\n"
        role = imported.execution_role_arn
        given = f"        execution_role_arn={_literal(role)},\n" if role else ""
        block = f"cluster.steps(\n        STEPS,\n{given}{_LIMIT_COMMENT}        {_LIMIT},\n    )"
    name = _escaped(str(imported.overrides["Name"]))
    return _FILE.format(
        title=f"Cluster {name} with Elastic IP {options.allocation_id}.",
        overrides=_literal(overrides, used=len("JOB_FLOW_OVERRIDES = ")),
        steps=steps,
        dag_id=_literal(options.dag_id),
        schedule=_literal(options.schedule),
        start=f"{options.start.year}, {options.start.month}, {options.start.day}",
        arguments="\n".join(lines),
        block=block,
    )


def _escaped(text: str) -> str:
    """Escape a text for a docstring."""
    return text.encode("unicode_escape").decode().replace('"', "'")


def _as_templates(value: Any) -> Any:
    """Return a value that Airflow's templating renders to the given one."""
    if isinstance(value, dict):
        return {key: _as_templates(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_as_templates(member) for member in value]
    if isinstance(value, str) and _TEMPLATE.search(value):
        return f"{{{{ {json.dumps(value, ensure_ascii=False)} }}}}"
    return value


def _literal(value: Any, *, depth: int = 0, used: int = 0) -> str:
    """
    Return a value as Python source, formatted as ruff and black do.

    :param used: how much of the first line is in use, without the indentation.
    """
    if not isinstance(value, (dict, list)):
        return _quoted(value) if isinstance(value, str) else repr(value)
    flat = _flat(value)
    # The comma that follows counts as well.
    if not value or depth * _INDENT + used + len(flat) < _LINE_LENGTH:
        return flat
    if isinstance(value, dict):
        members = [(f"{_quoted(name)}: ", member) for name, member in value.items()]
    else:
        members = [("", member) for member in value]
    inner, outer = " " * (depth + 1) * _INDENT, " " * depth * _INDENT
    lines = [f"{inner}{name}{_literal(member, depth=depth + 1, used=len(name))},\n" for name, member in members]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{''.join(lines)}{outer}{closing}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(name)}: {_flat(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(member) for member in value) + "]"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(value: str) -> str:
    """Return a string in double quotes, or in single quotes when that saves escapes."""
    return repr(value) if value.count('"') > value.count("'") else json.dumps(value, ensure_ascii=False)
