"""Checks of what a public address on the primary node lets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.network import INTERNET_GATEWAY, SUBNETS
from airflow_eip_provider.preflight.setup import GROUP_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_eip_provider.aws.network import BlockPublicAccess, Ports, SecurityGroup
    from airflow_eip_provider.preflight.setup import Setup

# What EMR makes in a VPC, once, for clusters that name none.
_DEFAULTS = {"Master": "ElasticMapReduce-master", "Slave": "ElasticMapReduce-slave"}
_KNOWN_PORTS = {22: "SSH", 8088: "YARN", 8888: "Hue", 8890: "Zeppelin", 9443: "JupyterHub", 18080: "Spark history"}


def _security_groups(setup: Setup) -> Iterator[Finding]:
    primary, others = _groups(setup)
    for name, group in primary.items():
        if group is None:
            yield error(
                f"security group '{name}'",
                what=f"it does not exist in region '{setup.region}'",
                why="EMR refuses the launch",
                mend="correct the security groups in Instances of job_flow_overrides",
            )
        elif group.open_to_all:
            yield warning(
                _subject(group),
                what=f"it lets in the whole internet on {_ports(group.open_to_all)}",
                why="the Elastic IP makes the primary node reachable, and it is the same address every day",
                mend="let in your own networks only, or nobody: Systems Manager needs no open port",
            )
    yield from _blocked([group for group in {**primary, **others}.values() if group and group.open_to_all], setup)


def _blocked(exposed: Iterable[SecurityGroup], setup: Setup) -> Iterator[Finding]:
    """Compare with EMR's block public access, which concerns public subnets."""
    if not exposed or not setup.public_subnets:
        return
    blocking: BlockPublicAccess = setup.block_public_access
    if not blocking.enabled:
        return
    for group in exposed:
        refused = [ports for ports in group.open_to_all if not ports.within(blocking.exceptions)]
        if refused:
            excepted = f"its exceptions are {_ports(blocking.exceptions)}" if blocking.exceptions else "no exceptions"
            yield error(
                _subject(group),
                what=f"EMR's block public access is on ({excepted}), and the group is open to all on {_ports(refused)}",
                why="EMR refuses to launch a cluster with it in a public subnet",
                mend="close these ports to 0.0.0.0/0 and ::/0, or add an exception: "
                "aws emr put-block-public-access-configuration",
            )


def _groups(setup: Setup) -> tuple[dict[str, SecurityGroup | None], dict[str, SecurityGroup | None]]:
    """
    Read the security groups of the primary node ("Master") and of the others ("Slave"), by id.

    Of those that the cluster does not name, EMR takes its own defaults; it makes them when there are none.
    """
    named, by_id = setup.security_group_ids, setup.security_groups
    unnamed = [role for role in _DEFAULTS if not setup.instances.get(f"EmrManaged{role}SecurityGroup")]
    defaults = setup.default_security_groups([_DEFAULTS[role] for role in unnamed])
    found: dict[str, dict[str, SecurityGroup | None]] = {}
    for role, default in _DEFAULTS.items():
        found[role] = {name: by_id[name] for name in named[role]}
        if role in unnamed:
            found[role].update({group.group_id: group for group in defaults if group.name == default})
    return found["Master"], found["Slave"]


def _subject(group: SecurityGroup) -> str:
    return f"security group '{group.group_id}' ({group.name})"


def _ports(ranges: Iterable[Ports]) -> str:
    names = [f"{ports} ({_KNOWN_PORTS[ports.first]})" if _is_known(ports) else str(ports) for ports in ranges]
    return f"port{'s' * (len(names) > 1 or '-' in names[0])} {', '.join(names)}"


def _is_known(ports: Ports) -> bool:
    return ports.first == ports.last and ports.first in _KNOWN_PORTS


SECURITY_GROUPS = Check(
    "exposure",
    "no security group of the primary node lets in the whole internet",
    _security_groups,
    essential=False,
    needs=(SUBNETS, INTERNET_GATEWAY),
    reads=tuple(f"Instances.{name}" for role in _DEFAULTS for name in GROUP_PLACES[role]),
)
