"""The checks before a drill: what would keep the standby from taking over, found while the primary still serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.errors import error_code, is_denied, is_transient
from airflow_eip_provider.cli.drill import address, firewall, primary, quota, standby, targets
from airflow_eip_provider.exceptions import ElasticIpError
from airflow_eip_provider.preflight import Check, Finding, Outcome
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Setup


@dataclass(frozen=True, slots=True)
class DrillCheck:
    """
    One thing to look at before a drill.

    :param title: what is true when nothing is found.
    :param service: the one that its calls are for, as IAM names it.
    :param find: looks, and yields what is wrong.
    :param missing: says what there must be to look at, and is not.
    """

    name: str
    title: str
    service: str
    find: Callable[[Scene], Iterator[Finding]]
    missing: Callable[[Scene], str | None] = lambda _: None

    def outcome(self, scene: Scene) -> Outcome:
        """Make the check; a call that AWS refuses is a finding, too."""
        check = Check(self.name, self.title, _nothing)
        if problem := self.missing(scene):
            return Outcome(check, skipped=problem)
        findings: list[Finding] = []
        try:
            for finding in self.find(scene):
                findings.append(finding)  # noqa: PERF402 - what was found before an error counts
        except (BotoCoreError, ClientError, ElasticIpError) as unanswered:
            findings.append(self._unanswered(unanswered))
        return Outcome(check, tuple(findings))

    def _unanswered(self, problem: Exception) -> Finding:
        what, mend = str(problem), "correct that"
        if isinstance(problem, ElasticIpError):
            what, mend = str(problem).removesuffix(f"; {problem.remedy}"), problem.remedy
        elif isinstance(problem, ClientError) and is_denied(problem):
            action = f"{self.service}:{problem.operation_name}"
            what = f"{action} is not permitted ({error_code(problem)})"
            mend = (
                f"allow {action}; airflow-eip iam-policy --health --drill --target-group ARN prints all that it needs"
            )
        finding = warning if is_transient(problem) else error
        why = f"it is not known whether {self.title}"
        return finding(f"check '{self.name}'", what=f"could not check: {what}", why=why, mend=mend)


def examine_scene(scene: Scene) -> Iterator[Outcome]:
    """Make every check; those of a cold standby are the ones that are made before each launch."""
    for check in BEFORE_STANDBY:
        yield check.outcome(scene)
    if scene.plan.is_cold:
        yield from standby.examine_launch(scene)
    for check in AFTER_STANDBY:
        yield check.outcome(scene)


def _nothing(_: Setup) -> Iterator[Finding]:
    yield from ()


def _no_address(scene: Scene) -> str | None:
    return None if scene.plan.allocation_id else "no Elastic IP is named"


BEFORE_STANDBY = (
    DrillCheck("primary", "the primary runs, with one primary node", "elasticmapreduce", primary.find_state_problems),
    DrillCheck(
        "primary-services",
        "the primary's services answer",
        "elasticmapreduce",
        primary.find_service_problems,
        primary.missing_services,
    ),
    DrillCheck("stop", "the primary can be stopped", "ec2", primary.find_stop_problems, primary.missing_stop),
    DrillCheck("lease", "the address is the primary's, and no other owner has it", "ec2", address.find, _no_address),
)
AFTER_STANDBY = (
    DrillCheck(
        "standby",
        "the standby runs, in another zone than the primary",
        "elasticmapreduce",
        standby.find_warm_problems,
        lambda scene: "the standby is cold: it is launched when it is needed" if scene.plan.is_cold else None,
    ),
    DrillCheck(
        "standby-services",
        "the standby's services answer",
        "elasticmapreduce",
        standby.find_service_problems,
        standby.missing_services,
    ),
    DrillCheck(
        "standby-zone",
        "a cold standby is launched in another zone than the primary's",
        "ec2",
        standby.find_zone_problems,
        lambda scene: None if scene.plan.is_cold else "the standby runs already",
    ),
    DrillCheck(
        "quota",
        "the quota of vCPUs has room for the standby",
        "servicequotas",
        quota.find,
        lambda scene: None if scene.plan.is_cold else "the standby runs already",
    ),
    DrillCheck(
        "target-groups",
        "the load balancer reaches the primary, and will reach the standby",
        "elasticloadbalancing",
        targets.find,
        lambda scene: None if scene.plan.target_groups else "no target group is named",
    ),
    DrillCheck(
        "firewall",
        "each Azure SQL server has a rule that admits the address",
        "ec2",
        firewall.find,
        lambda scene: None if scene.plan.servers else "no server is named",
    ),
)
