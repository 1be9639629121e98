"""The owner of a lease: a task instance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.airflow_compat import conf
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, OWNER_DIGEST_TAG, OWNER_TAG
from airflow_eip_provider.lease.owners import digest_of
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context

UNNAMED_ENVIRONMENT = "default"  # the owner's environment where [eip] environment is not set

_TAG_VALUE_LENGTH = 256  # EC2 and EMR: at most 256 characters, of these kinds
_NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+\-@]")
_PARTS = 5


def own_environment() -> str | None:
    """Return ``[eip] environment``; ``None`` when it is not set."""
    return conf.get("eip", "environment", fallback=None) or None


@dataclass(frozen=True, slots=True)
class Owner:
    """
    The creating task instance. No try number: a retry is the same owner.

    :param environment: ``[eip] environment`` of airflow.cfg, which distinguishes Airflow environments.
    :param map_index: -1 for a task that is not mapped.
    """

    environment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    @classmethod
    def of(cls, context: Context) -> Owner:
        """Return the owner of a task's context."""
        ti = context["ti"]
        return cls(
            environment=own_environment() or UNNAMED_ENVIRONMENT,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
        )

    @classmethod
    def of_name(cls, name: str, *, digest: str) -> Owner | None:
        """
        Parse an owner's name.

        :param digest: the owner's digest, which proves that the name is complete: tags are cut, and some characters
            replaced.
        :return: ``None`` if the digest differs, and if further slashes make the name ambiguous.
        """
        parts = name.split("/")
        if len(parts) != _PARTS or not parts[4].removeprefix("-").isdecimal():
            return None
        environment, dag_id, run_id, task_id, map_index = parts
        owner = cls(environment, dag_id, run_id, task_id, int(map_index))
        return owner if owner.digest == digest else None

    def __str__(self) -> str:
        return f"{self.environment}/{self.dag_id}/{self.run_id}/{self.task_id}/{self.map_index}"

    @property
    def digest(self) -> str:
        """The owner in a fixed length: 32 hexadecimal digits."""
        return digest_of(str(self))

    def tags(self, *, allocation_id: str | None) -> dict[str, str]:
        """Return the tags that identify the cluster for a retry, and the owner for people."""
        tags = {OWNER_DIGEST_TAG: self.digest, OWNER_TAG: _as_tag(str(self))}
        if allocation_id is None or is_nothing(allocation_id):
            return tags
        return {**tags, ALLOCATION_TAG: allocation_id}


def run_name(context: Context) -> str:
    """Return the common prefix of the names of all owners of a DAG run."""
    owner = Owner.of(context)
    return f"{owner.environment}/{owner.dag_id}/{owner.run_id}/"


def task_of_run(value: str, context: Context) -> tuple[str, int | None] | None:
    """
    Return the task ID and the map index in an owner's name if it is of this DAG run; else ``None``.

    Tags are cut, and some characters replaced, so the run's name is converted in the same way for the comparison.

    :param value: the owner tag of a cluster, or an owner's name.
    :return: the map index is ``None`` when the name is cut; then the task ID may be cut, too.
    """
    for run in (_as_tag(run_name(context)), run_name(context)):
        if value.startswith(run):
            task_id, _, map_index = value[len(run) :].rpartition("/")
            whole = map_index.removeprefix("-").isdecimal() and len(value) < _TAG_VALUE_LENGTH
            return (task_id, int(map_index)) if whole else (value[len(run) :], None)
    return None


def _as_tag(name: str) -> str:
    return _NOT_IN_TAGS.sub("_", name)[:_TAG_VALUE_LENGTH]
