"""``airflow-eip doctor``: what would keep a cluster from working with its address, before anything is launched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.address import add_pool_arguments, named_addresses
from airflow_eip_provider.cli.command import FAILED, FOUND, OK, Command, Parser, add_common_arguments
from airflow_eip_provider.cli.findings import facts_of, print_outcomes
from airflow_eip_provider.cli.output import note, only_the_result, print_json
from airflow_eip_provider.cli.usage import read_json_file, reading_arguments
from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.candidates import Candidate
    from airflow_eip_provider.cli.session import Session
    from airflow_eip_provider.operators.bindings import Binding
    from airflow_eip_provider.preflight import Finding, Outcome, Plan, Setup

PRIMARY, NAT_GATEWAY = "primary", "nat-gateway"

DESCRIPTION = """\
Check what a cluster with an Elastic IP depends on: the address, its permissions, the subnet and its zone, the shape of
the cluster, its security groups and what they let in, and the lock store; for a NAT gateway, what it takes to make one
or the one there is, and the routes that lead to it; with fallbacks, all of it for each. Nothing is changed, and nothing
launched.
EmrCreateWithStaticIpOperator makes the same checks before it launches a cluster.

Each finding says what is wrong, why that matters, and how to fix it. With an error the launch is refused, or the
address cannot serve; a warning may cause trouble later. The overrides are checked as the file has them: what the EMR
connection adds is not seen, and checks that depend on a template are skipped.

Of several addresses, of which a task takes any one, each is checked with the cluster. One that tasks leave out, as it
does not exist or something keeps it for good, is a warning as long as another is left; any other error is one. The
checks of the first address are shown in full, of each other one those that differ; with --json the result has
"addresses", a list of what each has as "checks", and whether it is "left_out"."""

EXAMPLES = r"""
# the cluster of a JSON file, as for the operator
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-overrides cluster.json
# and what is launched instead when it does not start
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-overrides cluster.json --fallbacks fallbacks.json
# any one address with a tag
airflow-eip doctor --tag purpose=azure-sql --job-flow-overrides cluster.json
# a NAT gateway that is made for the cluster
airflow-eip doctor --allocation-id eipalloc-0123456789abcdef0 \
    --job-flow-overrides cluster.json --binding nat-gateway \
    --public-subnet-id subnet-0123456789abcdef0 \
    --route-table-id rtb-0123456789abcdef0"""

# EC2 alone has DryRun; for these it would need an association or a gateway that exists.
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
        "--job-flow-overrides", metavar="FILE", help="the cluster: RunJobFlow's parameters as a JSON file"
    )
    parser.add_argument(
        "--fallbacks",
        metavar="FILE",
        help="what the operator is given as fallbacks: a JSON file with a list; each candidate is checked",
    )
    parser.add_argument(
        "--subnet-id",
        action="append",
        default=[],
        metavar="ID",
        help="without such a file: a subnet of the cluster; may be given again",
    )
    parser.add_argument("--vpc-id", metavar="ID", help="the VPC that the subnet is expected in")
    parser.add_argument(
        "--binding",
        default=PRIMARY,
        choices=[PRIMARY, NAT_GATEWAY],
        help="where the address is put: the network interface of the primary node (default), or a NAT gateway",
    )
    parser.add_argument("--public-subnet-id", metavar="ID", help="the subnet in which a NAT gateway is made")
    parser.add_argument(
        "--route-table-id",
        action="append",
        default=[],
        metavar="ID",
        help="a route table of the cluster's subnets, which is led to that gateway; may be given again",
    )
    parser.add_argument("--nat-gateway-id", metavar="ID", help="or else: the NAT gateway that has the address for good")
    parser.add_argument(
        "--on-multi-node", default="fail", choices=["fail", "warn", "allow"], help="as in the operator (default: fail)"
    )
    parser.add_argument(
        "--bind-at",
        default="primary_running",
        choices=["primary_running", "cluster_ready"],
        help="as in the operator (default: primary_running)",
    )
    parser.add_argument("--accept-self-termination", action="store_true", help="as in the operator")
    add_common_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Make every check."""
    with only_the_result():
        from airflow_eip_provider.cli.session import lock_store_of, open_session
        from airflow_eip_provider.preflight import examine_plans

        with reading_arguments():
            named = named_addresses(options)
            binding = _binding(options)
            job_flow, fallbacks = _job_flow(options), _fallbacks(options)
        lock_store = lock_store_of(options)
        session = open_session(options)
        note(session)
        examined: list[_Examined] = []
        for allocation_id in named.read(session.hooks):
            setup = _setup(options, allocation_id, session, lock_store)
            with reading_arguments():
                plans = _plans(session, setup, job_flow, fallbacks, binding)
            examined.append(_Examined(allocation_id, list(examine_plans(plans))))
    unanswered = _unanswered(options, lock_store)
    templated = sorted({place for plan in plans for place in plan.setup.templated})
    hints = [] if fallbacks else list(_hints(plans[0].setup))
    errors, warnings = _counted(examined)
    if options.json:
        facts = _facts(session, examined, unanswered, is_pool=named.is_pool)
        print_json({**facts, "templates": templated, "hints": hints})
    else:
        _print(examined)
        note(f"errors: {errors}, warnings: {warnings}")
        if templated:
            note(f"templates, which are known when the task runs: {', '.join(templated)}")
        for hint in hints:
            note(f"hint: {hint}")
        note(f"AWS does not say beforehand whether these are allowed: {', '.join(unanswered)}")
    return FOUND if errors else OK


@dataclass(frozen=True, slots=True)
class _Examined:
    """What came of the checks with one address."""

    allocation_id: str
    outcomes: list[Outcome]

    def found(self, severity: str) -> list[Finding]:
        return [finding for outcome in self.outcomes for finding in outcome.findings if finding.severity == severity]

    @property
    def left_out(self) -> list[Finding]:
        """Why a task that takes any one of several addresses does not take this one."""
        from airflow_eip_provider.preflight import POOL_CHECKS

        mine = [outcome for outcome in self.outcomes if outcome.check in POOL_CHECKS]
        return [finding for outcome in mine for finding in outcome.findings if finding.severity == "error"]


def _counted(examined: Sequence[_Examined]) -> tuple[int, int]:
    """
    Count errors and warnings, each finding once.

    Why an address is left out is only a warning while another is not.
    """
    usable = [one for one in examined if not one.left_out]
    errors = {finding for one in usable or examined for finding in one.found("error")}
    warnings = {finding for one in usable or examined for finding in one.found("warning")}
    warnings |= {finding for one in examined if usable for finding in one.left_out}
    return len(errors), len(warnings)


def _print(examined: Sequence[_Examined]) -> None:
    """Print the checks; of several addresses, in full those of the first that is not left out."""
    if len(examined) == 1:
        print_outcomes(examined[0].outcomes)
        return
    usable = [one for one in examined if not one.left_out]
    first = (usable or examined)[0]
    known = {outcome.check: facts_of(outcome) for outcome in first.outcomes}
    print(f"Elastic IP {first.allocation_id}")
    print_outcomes(first.outcomes)
    for one in examined:
        if one is first:
            continue
        shown = [o for o in one.outcomes if facts_of(o) != known.get(o.check) and (not one.left_out or o.findings)]
        left_out = ": left out by tasks that take any one of these" if one.left_out else ""
        print(f"\nElastic IP {one.allocation_id}{left_out or ('' if shown else f': as {first.allocation_id}')}")
        if shown:
            print_outcomes(shown)


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
    Return what is checked: the cluster of the file, and what each fallback makes of it.

    :raises InvalidInputError: when a fallback has the wrong form.
    """
    from airflow_eip_provider.operators.bindings import checked_binding
    from airflow_eip_provider.preflight import Plan, plans_of, read_candidates, without_templates

    if job_flow is None:
        return [Plan(binding.examined(setup), binding.checks)]
    shape = session.hooks.emr.conn.meta.service_model.operation_model("RunJobFlow").input_shape

    def known(candidate: Candidate) -> tuple[Candidate, frozenset[str]]:
        without, templated = without_templates(candidate.job_flow, shape)
        return replace(candidate, job_flow=without), templated

    listed = [known(candidate) for candidate in read_candidates(job_flow, fallbacks, shape=shape)]
    plans = plans_of(
        setup,
        [candidate for candidate, _ in listed],
        rounds=1,
        binding_of=lambda one: binding if one.binding_override is None else checked_binding(one.binding_override),
    )
    return [
        replace(plan, setup=replace(plan.setup, templated=templated))
        for plan, (_, templated) in zip(plans, listed, strict=True)
    ]


def _fallbacks(options: argparse.Namespace) -> list[Any]:
    """
    Read the fallbacks; none when no file is given.

    :raises UsageError: when there is no cluster that they change, or the file cannot be read or is not a JSON list.
    """
    if options.fallbacks is None:
        return []
    if options.job_flow_overrides is None:
        raise UsageError(
            f"reading --fallbacks '{options.fallbacks}'",
            problem="there is no cluster that they change",
            remedy="give --job-flow-overrides, too",
        )
    wanted = 'a list of what each fallback changes: [{"Instances": {"Ec2SubnetId": "subnet-…"}}]'
    return read_json_file("--fallbacks", options.fallbacks, list, wanted=wanted)


def _hints(setup: Setup) -> Iterator[str]:
    """Say what a job without fallbacks depends on; that is a choice, and no finding."""
    from airflow_eip_provider.preflight import has_spot_primary

    if setup.job_flow is None or setup.template_at("Instances"):
        return
    if has_spot_primary(setup):
        yield "the primary node is a Spot Instance: when EC2 takes it back the cluster ends; On-Demand avoids that"
    if len(setup.subnet_ids) == 1:
        yield (
            "there are no fallbacks: when the zone of its subnet has no capacity the job fails; the operator's "
            "fallbacks (--fallbacks) name subnets that are tried next"
        )


def _job_flow(options: argparse.Namespace) -> dict[str, Any] | None:
    """
    Read the cluster; ``None`` when no file is given.

    :raises UsageError: when the file cannot be read or is not a JSON object, or --subnet-id is also given.
    """
    if options.job_flow_overrides is None:
        return None
    if options.subnet_id:
        raise UsageError(
            f"reading --job-flow-overrides '{options.job_flow_overrides}'",
            problem="--subnet-id is given, too",
            remedy="give one: the cluster's subnets are those of the file when there is one",
        )
    return read_json_file("--job-flow-overrides", options.job_flow_overrides, dict, wanted="RunJobFlow's parameters")


def _binding(options: argparse.Namespace) -> Binding:
    """
    Return the binding that is asked about.

    :raises UsageError: when the primary node is given a gateway's parameters.
    :raises InvalidInputError: when those of a gateway are wrong by themselves.
    """
    from airflow_eip_provider.operators.bindings import NatGateway, PrimaryNode

    given = {
        "public_subnet_id": options.public_subnet_id,
        "route_table_ids": options.route_table_id,
        "nat_gateway_id": options.nat_gateway_id,
    }
    if options.binding == NAT_GATEWAY:
        gateway = NatGateway(**given)
        gateway.check_parameters()
        return gateway
    if any(given.values()):
        raise UsageError(
            "checking --binding primary",
            problem="a NAT gateway's subnet, route table or id is given with it",
            remedy="leave these out, or ask for --binding nat-gateway",
        )
    return PrimaryNode()


def _unanswered(options: argparse.Namespace, lock_store: str | None) -> list[str]:
    """Name the permissions that the launch needs, and of which no call says beforehand whether they are given."""
    binding = () if options.nat_gateway_id else _UNANSWERED_OF_BINDINGS[options.binding]
    kind = lock_store.partition(":")[0] if lock_store else ""
    return [*binding, *_UNANSWERED, *_UNANSWERED_OF_STORES.get(kind, ())]


def _facts(
    session: Session, examined: Sequence[_Examined], unanswered: Sequence[str], *, is_pool: bool
) -> dict[str, Any]:
    each = [
        {"allocation_id": one.allocation_id, "checks": [facts_of(outcome) for outcome in one.outcomes]}
        for one in examined
    ]
    if is_pool:
        left_out = [{"left_out": bool(one.left_out)} for one in examined]
        found: dict[str, Any] = {"addresses": [{**facts, **left} for facts, left in zip(each, left_out, strict=True)]}
    else:
        found = each[0]
    return {"account": session.account, "region": session.region, **found, "unanswered": list(unanswered)}


COMMAND = Command(
    "doctor",
    "check what a cluster and its address need",
    DESCRIPTION,
    add_arguments,
    run,
    examples=EXAMPLES,
    exit_statuses={
        OK: "no error found; there may be warnings",
        FAILED: "the checks could not be made",
        FOUND: "an error found",
    },
)
