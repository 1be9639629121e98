"""One local EMR, on which lease periods are run one after the other."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from airflow_eip_provider.stores.uri import open_store
from local_emr import LocalAws, ManualClock
from local_emr.testing import client_environment, private_subnet
from tests.verification.chaos import plans
from tests.verification.chaos.faults import Boundary, Chaos, Point
from tests.verification.chaos.holders import hold
from tests.verification.chaos.judge import Evidence, problems
from tests.verification.chaos.scheduler import Run, StuckError

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record
    from tests.verification.chaos.child import Job
    from tests.verification.chaos.plans import Plan, Stage

# After this time EC2 and EMR have ended everything that was told to end.
_SETTLING_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The result of a lease period.

    :param problems: none if the fault was survived.
    :param boundaries: the calls that were made.
    """

    plan: Plan
    point: Point | None
    problems: tuple[str, ...]
    boundaries: tuple[Boundary, ...]
    tasks: dict[str, str]
    log: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether this package's operators did not survive the fault."""
        return bool(self.problems) and self.plan.operators == "ours"


class World:
    """A local EMR and the processes that call it."""

    def __init__(self) -> None:
        multiprocessing.set_forkserver_preload(["tests.verification.chaos.warm"])
        self._directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # takes most of the time of a reset
        self._aws = LocalAws(clock=ManualClock())
        self._chaos = Chaos()
        self._chaos.watch(self._aws)
        self._aws.start()
        self._environment = {**client_environment(self._aws), "AIRFLOW__EIP__ENVIRONMENT": "chaos"}
        os.environ.update(self._environment)
        self._session = boto3.Session()
        # moto loads a service at its first call. On a busy machine that takes longer than the operators' read timeout,
        # and then only the clean run would have a second attempt of that call.
        self._session.client("dynamodb").list_tables()
        self._session.client("emr").list_clusters()

    def run(self, plan: Plan, point: Point | None = None) -> Outcome:
        """Run one lease period in an empty AWS, with a fault or without one."""
        aws = self._aws
        aws.reset()
        aws.faults = self._chaos
        self._chaos.begin(None)
        stage, zone = self._stage(plan)
        if plan.failover:
            stage = replace(stage, standby_id=self._serve(plan, stage))
        if plan.fallback == "has no capacity":
            aws.limit_capacity(zone)
        aws.events.clear()
        holders = hold(plan, stage, self._session, aws) if plan.pool else None
        self._chaos.begin(point)
        if plan.fallback == "hangs":
            aws.fail_next_cluster(state="STARTING", hangs=True)
        log = self._directory / f"{os.getpid()}.log"
        log.unlink(missing_ok=True)

        def job(kind: type[Job], **parameters: Any) -> Job:
            return kind(plan=plan, stage=stage, environment=self._environment, log=str(log), **parameters)

        run = Run(
            plans.build(plan, stage),
            start=job,
            advance=aws.clock.advance,
            now=lambda: float(aws.clock.now().timestamp()),
            on_process=self._chaos.on_process,
        )
        found: list[str] = []
        try:
            run.run()
        except StuckError as stuck:
            found.append(str(stuck))
        except Exception:
            found.append(traceback.format_exc())
        boundaries = tuple(self._chaos.seen)
        found += [self._chaos.problem] if self._chaos.problem else []
        self._chaos.begin(None)
        if holders is not None:
            aws.end_cluster(holders.first, state="TERMINATED", message="The work is done")
        aws.clock.advance(_SETTLING_SECONDS)
        events = aws.events.read()
        records = [record for name in stage.allocation_ids if (record := self._record(plan, name)) is not None]
        evidence = Evidence(
            point.kind if point else None,
            events,
            run.tasks,
            records,
            forbids_reassociation=plan.operators == "ours",
            replaces=bool(plan.fallback),
            addresses=stage.allocation_ids if plan.pool else (),
            stays=holders.owner if holders is not None else None,
        )
        found += problems(evidence)
        states = {name: f"{tries.state} after {tries.count}" for name, tries in run.tasks.items()}
        kept = log.read_text(errors="replace") if found and log.exists() else ""
        return Outcome(plan, point, tuple(found), boundaries, states, kept)

    def _stage(self, plan: Plan) -> tuple[Stage, str]:
        """Create the resources of a lease period; return them, and the zone of its first cluster."""
        ec2 = self._session.client("ec2")
        self._session.client("s3").create_bucket(
            Bucket=plans.BUCKET, CreateBucketConfiguration={"LocationConstraint": self._aws.region}
        )
        count = 2 if plan.pool else 1
        address, *more = sorted(ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(count))
        public, elsewhere = ec2.describe_subnets()["Subnets"][:2]
        private = private_subnet(ec2)
        stage = plans.Stage(
            address, public["SubnetId"], private.subnet_id, private.route_table_id, elsewhere["SubnetId"]
        )
        if more:
            stage = replace(stage, second_id=more[0])
        return stage, str(public["AvailabilityZone"])

    def _serve(self, plan: Plan, stage: Stage) -> str:
        """Create the target group of a service, open its port on every node, and launch the standby; return its id."""
        ec2, elb = self._session.client("ec2"), self._session.client("elbv2")
        subnets = ec2.describe_subnets(SubnetIds=[stage.subnet_id, stage.elsewhere_id])["Subnets"]
        vpc_id = subnets[0]["VpcId"]
        (balancer,) = elb.create_load_balancer(
            Name="service", Type="network", Subnets=[stage.subnet_id, stage.elsewhere_id]
        )["LoadBalancers"]
        (group,) = elb.create_target_group(
            Name=plans.TARGETS, Protocol="TCP", Port=8088, VpcId=vpc_id, TargetType="ip", HealthCheckIntervalSeconds=10
        )["TargetGroups"]
        forward = [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]
        arn = balancer["LoadBalancerArn"]
        elb.create_listener(LoadBalancerArn=arn, Protocol="TCP", Port=8088, DefaultActions=forward)
        standby_id = self._session.client("emr").run_job_flow(**plans.cluster(stage.elsewhere_id))["JobFlowId"]
        self._aws.clock.advance(900)
        for security_group in ec2.describe_security_groups()["SecurityGroups"]:
            ports = {"IpProtocol": "tcp", "FromPort": 8088, "ToPort": 8088, "IpRanges": [{"CidrIp": "172.31.0.0/16"}]}
            ec2.authorize_security_group_ingress(GroupId=security_group["GroupId"], IpPermissions=[ports])
        if plan.failover == "cold":
            self._session.client("emr").terminate_job_flows(JobFlowIds=[standby_id])
            self._aws.clock.advance(300)
        return str(standby_id)

    def _record(self, plan: Plan, allocation_id: str) -> Record | None:
        if plan.lock_store is None:
            return None
        service = plan.lock_store.split(":", maxsplit=1)[0]
        client = self._session.client(service)
        store = open_store(plan.lock_store, lambda *_: client)
        return store.read(allocation_id).record
