"""Watching the targets of load balancers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider.aws.load_balancers import HEALTHY, Member, TargetHealth, read_target_health
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.triggers.observed import Observed

Expect = Literal["healthy", "deregistered"]


def read_member_health(elbv2: Any, members: Sequence[Member]) -> list[tuple[Member, TargetHealth]]:
    """Read the health of members, with one call for each target group (elasticloadbalancing:DescribeTargetHealth)."""
    found: list[tuple[Member, TargetHealth]] = []
    ordered = sorted(members, key=lambda member: member.target_group_arn)
    for arn, some in groupby(ordered, key=lambda member: member.target_group_arn):
        of_group = {member.as_target: member for member in some}
        health = read_target_health(elbv2, arn, list(of_group))
        found += [(of_group[each.target], each) for each in health if each.target in of_group]
    return found


def judge_members(elbv2: Any, members: Sequence[Member], *, expect: Expect) -> Verdict:
    """
    Judge whether all members are healthy, or none is registered any more, drained ones included.

    Nothing is a failure: what is unhealthy now may become healthy, and a new registration may not be shown yet.
    """
    health = read_member_health(elbv2, members)
    if expect == "healthy":
        waiting = [(member, each) for member, each in health if each.state != HEALTHY]
    else:
        waiting = [(member, each) for member, each in health if each.is_registered]
    states = [{**asdict(member), "state": each.state, "reason": each.reason} for member, each in health]
    if not waiting:
        return Verdict("done", f"all {len(health)} targets are {expect}", {"members": states})
    words = "; ".join(f"{each}, in target group '{member.target_group}'" for member, each in waiting)
    return Verdict("pending", words, {"members": states})


@dataclass(kw_only=True, eq=False, repr=False)
class NlbTargetsTrigger(WatchTrigger):
    """
    Wait until targets are healthy, or deregistered and drained.

    :param members: the targets, as plain JSON; see :class:`~airflow_eip_provider.aws.load_balancers.Member`.
    :param expect: "healthy" or "deregistered".
    """

    members: list[dict[str, Any]]
    expect: Expect

    def judge(self, observed: Observed) -> Verdict:
        """Judge the health of each target."""
        members = [Member(**member) for member in self.members]
        return judge_members(observed.client("elbv2"), members, expect=self.expect)
