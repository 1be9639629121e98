"""The checks before a drill: they find what would keep the standby from taking over while the primary still serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.errors import error_code, is_denied, is_transient
from airflow_eip_provider.cli.drill import address, firewall, primary, quota, standby, targets
from airflow_eip_provider.cli.drill.finding import NotApplicable
from airflow_eip_provider.exceptions import ElasticIpError
from airflow_eip_provider.preflight import Check, Finding, Outcome
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.cli.drill.resources import Resources


@dataclass(frozen=True, slots=True)
class DrillCheck:
    """
    One check before a drill.

    :param title: what is true when the check finds nothing.
    :param service: the AWS service that the check calls, as IAM names it.
    :param find: yields the findings; raises ``NotApplicable`` when there is nothing to check.
    """

    name: str
    title: str
    service: str
    find: Callable[[Resources], Iterator[Finding]]

    def run(self, resources: Resources) -> Outcome:
        """Run the check; a call that AWS refuses is a finding as well."""
        check = Check(self.name, self.title, find=lambda _: iter(()))
        findings: list[Finding] = []
        try:
            for finding in self.find(resources):
                findings.append(finding)  # noqa: PERF402 - keeps what was found before an error
        except NotApplicable as skipped:
            return Outcome(check, skipped=str(skipped))
        except (BotoCoreError, ClientError, ElasticIpError) as failed:
            findings.append(self._failure(failed))
        return Outcome(check, tuple(findings))

    def _failure(self, problem: Exception) -> Finding:
        what, remedy = str(problem), "correct that"
        if isinstance(problem, ElasticIpError):
            what, remedy = str(problem).removesuffix(f"; {problem.remedy}"), problem.remedy
        elif isinstance(problem, ClientError) and is_denied(problem):
            action = f"{self.service}:{problem.operation_name}"
            what = f"{action} is not permitted ({error_code(problem)})"
            remedy = (
                f"allow {action}; airflow-eip iam-policy --health --drill --target-group ARN prints all permissions"
            )
        finding = warning if is_transient(problem) else error
        why = f"it is not known whether {self.title}"
        return finding(f"check '{self.name}'", what=f"could not check: {what}", why=why, remedy=remedy)


_BEFORE_LAUNCH_CHECKS = (
    DrillCheck("primary", "the primary runs, with one primary node", "elasticmapreduce", primary.find_state_problems),
    DrillCheck("primary-services", "the primary's services answer", "elasticmapreduce", primary.find_service_problems),
    DrillCheck("stop", "the primary can be stopped", "ec2", primary.find_stop_problems),
    DrillCheck(
        "lease", "the address is the primary's, and no other owner has it", "ec2", address.find_address_problems
    ),
)
_AFTER_LAUNCH_CHECKS = (
    DrillCheck(
        "standby",
        "the standby runs, in another zone than the primary",
        "elasticmapreduce",
        standby.find_warm_problems,
    ),
    DrillCheck("standby-services", "the standby's services answer", "elasticmapreduce", standby.find_service_problems),
    DrillCheck(
        "standby-zone",
        "a cold standby is launched in another zone than the primary's",
        "ec2",
        standby.find_zone_problems,
    ),
    DrillCheck("quota", "the quota of vCPUs has room for the standby", "servicequotas", quota.find_quota_problems),
    DrillCheck(
        "target-groups",
        "the load balancer reaches the primary, and will reach the standby",
        "elasticloadbalancing",
        targets.find_group_problems,
    ),
    DrillCheck(
        "firewall",
        "each Azure SQL server has a rule that admits the address",
        "ec2",
        firewall.find_firewall_problems,
    ),
)


def run_checks(resources: Resources) -> Iterator[Outcome]:
    """Run every check; a cold standby also gets the checks that an operator runs before each launch."""
    for check in _BEFORE_LAUNCH_CHECKS:
        yield check.run(resources)
    if resources.plan.is_cold:
        yield from standby.run_launch_checks(resources)
    for check in _AFTER_LAUNCH_CHECKS:
        yield check.run(resources)
