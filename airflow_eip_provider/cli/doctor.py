"""``airflow-eip doctor``: check the configuration of a cluster and its address before anything is launched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.arguments import (
    add_common_arguments,
    add_list,
    add_pool_arguments,
    named_addresses,
    read_fallbacks,
    read_job_flow_overrides,
    reading_arguments,
)
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser
from airflow_eip_provider.cli.findings import facts_of, print_outcomes
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.operators.bindings import Binding
    from airflow_eip_provider.preflight import Finding, Outcome, Plan, Setup

PRIMARY, NAT_GATEWAY = "primary", "nat-gateway"

DESCRIPTION = """\
Check everything that a cluster with an Elastic IP depends on: the address, the IAM permissions, the subnet and its
zone, the configuration of the cluster, its security groups, and the lock store. With --binding nat-gateway, also check
the NAT gateway and the routes to it. With --fallbacks, check every candidate. EmrCreateWithStaticIpOperator makes the
same checks before it launches a cluster. The command changes nothing and launches nothing.

Each finding says what is wrong, why it matters, and how to fix it. An error means that the operator refuses the launch,
or that the address would not work; a warning may cause problems later.

The file of --job-flow-overrides is checked as it is: parameters that the Airflow connection of EMR adds are not known,
and checks that depend on a template are skipped.

With several addresses, each is checked with the cluster. Tasks that can use any one of several addresses leave out an
address that does not exist or is permanently in use; this is only a warning while another address can be used. The
checks of the first address are printed in full, and for the others only those that differ. With --json the result has
"addresses", a list in which each address has its "checks" and "left_out"."""

EXAMPLES = r"""
# Check the cluster of a JSON file, as for the operator
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-overrides cluster.json
# Also check what is launched when it does not start
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-overrides cluster.json --fallbacks fallbacks.json
# Check all addresses with a tag
airflow-eip doctor --tag purpose=azure-sql --job-flow-overrides cluster.json
# Check a NAT gateway that is created for the cluster
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-overrides cluster.json --binding nat-gateway \
    --public-subnet-id subnet-0123456789abcdef0 \
    --route-table-id rtb-0123456789abcdef0"""

# Only EC2 has DryRun, and for these two it needs an existing association or gateway.
_UNANSWERED_OF_BINDINGS = {PRIMARY: ("ec2:DisassociateAddress",), NAT_GATEWAY: ("ec2:DeleteNatGateway",)}
_UNANSWERED = (
    "elasticmapreduce:RunJobFlow",
    "elasticmapreduce:AddTags",
    "elasticmapreduce:AddJobFlowSteps",
    "elasticmapreduce:TerminateJobFlows",
    "iam:PassRole",
)
_UNANSWERED_OF_STORES = {"dynamodb": ("dynamodb:PutItem",), "s3": ("s3:PutObject",)}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_pool_arguments(parser)
    parser.add_argument(
        "--job-flow-overrides", metavar="FILE", help="the cluster: a JSON file with the parameters of RunJobFlow"
    )
    parser.add_argument(
        "--fallbacks", metavar="FILE", help="a JSON file with the list that the operator gets as fallbacks"
    )
    add_list(parser, "--subnet-id", "ID", "a subnet of the cluster, instead of --job-flow-overrides")
    parser.add_argument("--vpc-id", metavar="ID", help="the VPC that the subnet must be in")
    parser.add_argument(
        "--binding",
        default=PRIMARY,
        choices=[PRIMARY, NAT_GATEWAY],
        help="what the address is associated with: the primary node (default), or a NAT gateway",
    )
    parser.add_argument(
        "--public-subnet-id", "--public-subnet", metavar="ID", help="the subnet in which a NAT gateway is created"
    )
    add_list(
        parser,
        "--route-table-id",
        "ID",
        "a route table of the cluster's subnets, which gets a route to that gateway",
        alias="--route-table",
    )
    parser.add_argument("--nat-gateway-id", metavar="ID", help="an existing NAT gateway that always has the address")
    parser.add_argument(
        "--on-multi-node",
        default="fail",
        choices=["fail", "warn", "allow"],
        help="the parameter on_multi_node of the operator (default: fail)",
    )
    parser.add_argument(
        "--bind-at",
        default="primary_running",
        choices=["primary_running", "cluster_ready"],
        help="the parameter bind_at of the operator (default: primary_running)",
    )
    parser.add_argument(
        "--accept-self-termination",
        action="store_true",
        help="the parameter accept_self_termination of the operator",
    )
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Make every check."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.preflight import examine_plans

        if options.job_flow_overrides is not None and options.subnet_id:
            problem = "--subnet-id is given, too, but the file contains the subnets of the cluster"
            raise UsageError("reading --job-flow-overrides", problem=problem, remedy="give one")
        with reading_arguments():
            addresses = named_addresses(options)
            binding = _binding(options)
            job_flow, fallbacks = read_job_flow_overrides(options), read_fallbacks(options)
        lock_store = lock_store_of(options)
        session = open_session(options)
        results: list[_AddressResult] = []
        for allocation_id in addresses.resolve(session.hooks):
            setup = _setup(options, allocation_id, session, lock_store)
            with reading_arguments():
                plans = _plans(session, setup, job_flow, fallbacks, binding)
            results.append(_AddressResult(allocation_id, list(examine_plans(plans))))
    unanswered = _unanswered(options, lock_store)
    templates = sorted({place for plan in plans for place in plan.setup.templated})
    hints = [] if fallbacks else list(_hints(plans[0].setup))
    errors, warnings = _count_findings(results)
    if options.json:
        facts = [
            {"allocation_id": result.allocation_id, "checks": [facts_of(outcome) for outcome in result.outcomes]}
            for result in results
        ]
        if addresses.is_pool:
            with_left_out = [
                {**each, "left_out": bool(result.left_out)} for each, result in zip(facts, results, strict=True)
            ]
            checked: dict[str, Any] = {"addresses": with_left_out}
        else:
            checked = facts[0]
        print_json({**session.facts, **checked, "unanswered": unanswered, "templates": templates, "hints": hints})
    else:
        _print(results)
        note(f"errors: {errors}, warnings: {warnings}")
        if templates:
            note(f"templates, whose values are known only when the task runs: {', '.join(templates)}")
        for hint in hints:
            note(f"hint: {hint}")
        note(f"AWS cannot be asked in advance whether these are allowed: {', '.join(unanswered)}")
    return FOUND if errors else OK


@dataclass(frozen=True, slots=True)
class _AddressResult:
    """The results of the checks for one address."""

    allocation_id: str
    outcomes: list[Outcome]

    def findings(self, severity: str) -> set[Finding]:
        return {finding for outcome in self.outcomes for finding in outcome.findings if finding.severity == severity}

    @property
    def left_out(self) -> set[Finding]:
        """Why a task that can use any one of several addresses does not use this one."""
        from airflow_eip_provider.preflight import POOL_CHECKS

        errors = (f for outcome in self.outcomes if outcome.check in POOL_CHECKS for f in outcome.findings)
        return {finding for finding in errors if finding.severity == "error"}


def _count_findings(results: Sequence[_AddressResult]) -> tuple[int, int]:
    """
    Count errors and warnings, each finding once.

    The reason for leaving out an address is a warning while another address can be used.
    """
    usable = [result for result in results if not result.left_out]
    errors = {finding for result in usable or results for finding in result.findings("error")}
    warnings = {finding for result in usable or results for finding in result.findings("warning")}
    if usable:
        warnings |= {finding for result in results for finding in result.left_out}
    return len(errors), len(warnings)


def _print(results: Sequence[_AddressResult]) -> None:
    """Print the checks; of several addresses, in full those of the first that is not left out."""
    if len(results) == 1:
        print_outcomes(results[0].outcomes)
        return
    first = next((result for result in results if not result.left_out), results[0])
    first_facts = {outcome.check: facts_of(outcome) for outcome in first.outcomes}
    print(f"Elastic IP {first.allocation_id}")
    print_outcomes(first.outcomes)
    for result in results:
        if result is first:
            continue
        different = [outcome for outcome in result.outcomes if facts_of(outcome) != first_facts.get(outcome.check)]
        if result.left_out:
            different = [outcome for outcome in different if outcome.findings]
            summary = ": left out by tasks that can use any one of these"
        else:
            summary = "" if different else f": same as {first.allocation_id}"
        print(f"\nElastic IP {result.allocation_id}{summary}")
        if different:
            print_outcomes(different)


def _setup(options: argparse.Namespace, allocation_id: str, session: Session, lock_store: str | None) -> Setup:
    from airflow_eip_provider.operators.owner import own_environment
    from airflow_eip_provider.preflight import Setup

    return Setup(
        allocation_id=allocation_id,
        eip=session.hooks.eip,
        emr=session.hooks.emr,
        subnets_named=options.subnet_id,
        on_multi_node=options.on_multi_node,
        bind_at=options.bind_at,
        accept_self_termination=options.accept_self_termination,
        vpc_id=options.vpc_id,
        lock_store=lock_store,
        store_client=session.hooks.client_for,
        environment=own_environment(),
    )


def _plans(
    session: Session, setup: Setup, job_flow: dict[str, Any] | None, fallbacks: list[Any], binding: Binding
) -> list[Plan]:
    """
    Return what is checked: the cluster of the file, and each candidate of the fallbacks.

    :raises InvalidInputError: when a fallback is malformed.
    """
    from airflow_eip_provider.operators.bindings import checked_binding
    from airflow_eip_provider.preflight import Plan, plans_of, read_candidates, without_templates

    if job_flow is None:
        return [Plan(binding.examined(setup), binding.checks)]
    shape = session.hooks.emr.conn.meta.service_model.operation_model("RunJobFlow").input_shape
    candidates, templates = [], []
    for candidate in read_candidates(job_flow, fallbacks, shape=shape):
        known, templated = without_templates(candidate.job_flow, shape)
        candidates.append(replace(candidate, job_flow=known))
        templates.append(templated)
    plans = plans_of(
        setup,
        candidates,
        rounds=1,
        binding_of=lambda one: binding if one.binding_override is None else checked_binding(one.binding_override),
    )
    return [
        replace(plan, setup=replace(plan.setup, templated=templated))
        for plan, templated in zip(plans, templates, strict=True)
    ]


def _hints(setup: Setup) -> Iterator[str]:
    """Yield what a job without fallbacks depends on; this is not a finding, because it may be intended."""
    from airflow_eip_provider.preflight import has_spot_primary

    if setup.job_flow is None or setup.template_at("Instances"):
        return
    if has_spot_primary(setup):
        yield "the primary node is a Spot Instance: the cluster ends when EC2 interrupts it; use On-Demand instead"
    if len(setup.subnet_ids) == 1:
        yield (
            "there are no fallbacks: the job fails when the zone of its subnet has no capacity; the parameter "
            "fallbacks of the operator (--fallbacks) names further subnets to try"
        )


def _binding(options: argparse.Namespace) -> Binding:
    """
    Return the binding to check.

    :raises UsageError: when parameters of a gateway are given for the primary node.
    :raises InvalidInputError: when the parameters of a gateway are invalid.
    """
    from airflow_eip_provider.operators.bindings import NatGateway, PrimaryNode

    parameters = {
        "public_subnet_id": options.public_subnet_id,
        "route_table_ids": options.route_table_id,
        "nat_gateway_id": options.nat_gateway_id,
    }
    if options.binding == NAT_GATEWAY:
        gateway = NatGateway(**parameters)
        gateway.check_parameters()
        return gateway
    if any(parameters.values()):
        raise UsageError(
            "checking --binding primary",
            problem="the subnet, route table or ID of a NAT gateway is given, too",
            remedy="omit these, or give --binding nat-gateway",
        )
    return PrimaryNode()


def _unanswered(options: argparse.Namespace, lock_store: str | None) -> list[str]:
    """Return the permissions that a launch needs and that no call can check in advance."""
    binding = () if options.nat_gateway_id else _UNANSWERED_OF_BINDINGS[options.binding]
    kind = lock_store.partition(":")[0] if lock_store else ""
    return [*binding, *_UNANSWERED, *_UNANSWERED_OF_STORES.get(kind, ())]


COMMAND = Command(
    "doctor",
    "check what a cluster and its address need",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "no errors; there may be warnings",
        FAILED: "the checks could not be made",
        FOUND: "at least one error",
    },
)
