"""What the monitoring of a primary node reads from AWS, and how often."""

from __future__ import annotations

import asyncio
import bisect
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws.addresses import Instance
from airflow_eip_provider.aws.clusters import Cluster, ClusterStatus
from airflow_eip_provider.aws.instance_status import InstanceStatus
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.judgement import Result
from airflow_eip_provider.triggers import health
from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger, Known, PrimaryWatch, check_host, host_of
from airflow_eip_provider.triggers.observed import Observed, Wants

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.verdict import Verdict

START = 1_800_000_000.0
CLUSTER = "j-1ABC"
HTTP = ("yarn", "hdfs", "livy")
THROTTLED = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "DescribeCluster")


def instance(instance_id: str = "i-1", state: str = "running", private_ip: str = "10.0.0.5") -> Instance:
    places = {"private_ip": private_ip, "private_dns": "ip-10-0-0-5.internal", "public_ip": "52.1.2.3"}
    return Instance(instance_id, state, "subnet-1", "eni-1", "vpc-1", {}, **places)


@dataclass
class Aws:
    """A replacement of ``Observed`` with planned answers, which records the reads."""

    state: str = "WAITING"
    node: Instance | None = field(default_factory=instance)
    instance_check: str = "ok"
    system_check: str = "ok"
    known: bool = True
    error: Exception | None = None
    age: timedelta = timedelta(hours=5)
    asked: list[str] = field(default_factory=list)
    now: float = START
    at: list[float] = field(default_factory=list)

    def _note(self, what: str) -> None:
        self.asked.append(what)
        self.at.append(self.now)
        if self.error is not None:
            raise self.error

    def cluster(self, job_flow_id: str) -> Cluster | None:
        self._note("cluster")
        if not self.known:
            return None
        created = datetime.fromtimestamp(self.now, UTC) - self.age
        ready = created + timedelta(minutes=8) if self.state in {"WAITING", "RUNNING"} else None
        return Cluster(job_flow_id, "x", self.state, "why", created_at=created, ready_at=ready, age=self.age)

    def status(self, job_flow_id: str) -> ClusterStatus | None:
        self._note("cluster")
        return ClusterStatus(job_flow_id, "x", self.state, "why") if self.known else None

    def tagged_primary(self, _job_flow_id: str) -> Instance | None:
        self._note("primary")
        return self.node if self.node is not None and self.node.state != "terminated" else None

    def primary(self, _job_flow_id: str) -> tuple[str, Instance] | None:
        self._note("asked of EMR")
        return None

    def instance_status(self, instance_id: str) -> InstanceStatus | None:
        self._note("instance")
        state = self.node.state if self.node is not None and self.node.instance_id == instance_id else "terminated"
        return InstanceStatus(instance_id, state, self.instance_check, self.system_check)


class Rounds:
    """The rounds of a monitoring."""

    def __init__(self, aws: Aws, *, delay: float = 20.0, **given: Any) -> None:
        self.aws, self.delay = aws, delay
        self.watch = PrimaryWatch(
            **{
                "job_flow_id": CLUSTER,
                "checks": [{"name": name} for name in HTTP],
                "until": "unhealthy",
                "unhealthy_after": "3/5",
                "healthy_after": "1/1",
                "host": "private_ip",
                "known": Known(since=START, start_by=START + 1800),
                "start_seconds": 1800.0,
                **given,
            }
        )
        self.seen = 0

    def round(self, *failing: str) -> Verdict:
        if self.seen:
            self.aws.now += self.delay
        now, aws = self.aws.now, self.aws
        if self.seen == 0:
            self.watch.read_all(aws, now=now)  # type: ignore[arg-type]
        else:
            self.watch.read(aws, self.watch.turn(now), now=now)  # type: ignore[arg-type]
        self.seen += 1
        there = self.watch.known.primary is not None
        answers = [Result(name, now, ok=name not in failing, problem="timed out") for name in HTTP] if there else []
        return self.watch.judge(answers, now=now)

    def until(self, status: str, *failing: str, most: int = 200) -> tuple[Verdict, float]:
        """Return the verdict, and the seconds until it."""
        start = self.aws.now
        for _ in range(most):
            found = self.round(*failing)
            if found.status == status:
                return found, self.aws.now - start
        raise AssertionError(f"no {status} in {most} rounds: {found}")


def busiest_minute(at: list[float]) -> int:
    """Return the highest number of calls in any 60 seconds."""
    return max(bisect.bisect_left(at, start + 60) - place for place, start in enumerate(at))


@pytest.mark.parametrize("delay", [1, 7, 20, 45])
def test_at_most_three_calls_to_aws_a_minute_at_any_polling_interval(delay):
    rounds = Rounds(Aws(), delay=delay)
    for _ in range(int(3600 / delay)):
        rounds.round()
    assert busiest_minute(rounds.aws.at) <= 3
    asked = Counter(rounds.aws.asked)
    assert asked["primary"] == 1
    assert abs(asked["cluster"] - asked["instance"]) <= 1, "in turn"
    assert len(rounds.aws.asked) >= 3600 / max(delay, 20) * 0.9, "and not seldom"


@pytest.mark.parametrize("trouble", ["throttled", "ends", "unknown", "impaired", "gone", "no primary"])
def test_at_most_three_calls_to_aws_a_minute_during_failures(trouble):
    aws = Aws()
    rounds = Rounds(aws, until="healthy")
    rounds.round()
    if trouble == "throttled":
        aws.error = THROTTLED
    elif trouble == "unknown":
        aws.known = False
    elif trouble == "impaired":
        aws.system_check = "impaired"
    elif trouble == "no primary":
        aws.node = None
    else:
        aws.state = "TERMINATING" if trouble == "ends" else "WAITING"
        aws.node = instance(state="terminated")
    for _ in range(200):
        rounds.round("livy")
    assert busiest_minute(aws.at) <= 3


def test_ten_thousand_minutes_with_a_flapping_check_and_stale_reads_have_no_false_verdict():
    """Livy fails at random, never twice in a row; sometimes AWS throttles, or shows once that the cluster has ended."""
    chance, aws, missed = random.Random(7), Aws(), False
    rounds, verdicts, since_stale = Rounds(aws), 0, 0
    while aws.now < START + 10_000 * 60:
        missed = not missed and chance.random() < 0.8
        weather = chance.random()
        since_stale += 1
        if stale := weather < 0.02 and since_stale > 3:  # EMR is asked every other round: the next answer is right
            since_stale = 0
        aws.state = "TERMINATED" if stale else "WAITING"
        aws.error = THROTTLED if 0.02 <= weather < 0.1 else None
        verdicts += rounds.round(*(["livy"] * missed)).status != "pending"
    assert verdicts == 0
    assert busiest_minute(aws.at) <= 3
    assert len(aws.at) <= rounds.seen + 1


def test_an_outage_of_one_service_is_a_verdict_within_a_minute():
    rounds = Rounds(Aws())
    for _ in range(50):
        assert rounds.round().status == "pending"
    found, seconds = rounds.until("done", "livy")
    assert seconds <= 60
    facts = found.data
    assert (facts["status"], facts["check"], facts["problem"], facts["ended"]) == (
        "unhealthy",
        "livy",
        "timed out",
        False,
    )
    assert (facts["job_flow_id"], facts["instance_id"], facts["host"]) == (CLUSTER, "i-1", "10.0.0.5")
    assert facts["failures"][0]["since"] < facts["at"]


@pytest.mark.parametrize("state", [None, "terminated"])
def test_a_primary_node_that_was_lost_before_the_watch_began_is_unhealthy(state):
    """EMR still shows the cluster as WAITING, so no other check would fail."""
    aws = Aws(node=None if state is None else instance(state=state))
    found, seconds = Rounds(aws).until("done")
    assert found.data["check"] == "ec2_state"
    assert found.data["problem"] == "EC2 shows no instance that runs as its primary node"
    assert 60 <= seconds <= 200, "no single answer that does not show it, which may be a minute old"


def test_a_primary_node_that_ec2_does_not_show_at_first_is_not_a_failure():
    aws = Aws(node=None)
    rounds = Rounds(aws)
    rounds.round()
    aws.node = instance()
    assert {rounds.round().status for _ in range(20)} == {"pending"}


def test_http_checks_continue_while_aws_does_not_answer():
    aws = Aws()
    rounds = Rounds(aws)
    rounds.round()
    aws.error = THROTTLED
    assert rounds.until("done", "yarn")[1] <= 60


def test_an_ending_cluster_is_unhealthy_after_two_polls():
    aws = Aws()
    rounds = Rounds(aws)
    for _ in range(10):
        rounds.round()
    aws.state = "TERMINATING"
    found, seconds = rounds.until("done")
    assert seconds <= 80
    assert (found.data["check"], found.data["ended"]) == ("emr_state", True)


def test_a_terminated_instance_is_unhealthy_after_two_polls():
    aws = Aws()
    rounds = Rounds(aws)
    rounds.round()
    aws.node = instance(state="shutting-down")
    found, _ = rounds.until("done")
    assert (found.data["check"], found.data["problem"]) == ("ec2_state", "instance 'i-1' is shutting-down")


def test_a_replaced_instance_is_monitored_instead_of_the_old_one():
    aws = Aws()
    rounds = Rounds(aws)
    rounds.round()
    aws.node = instance("i-2", private_ip="10.0.0.6")
    assert {rounds.round().status for _ in range(20)} == {"pending"}
    assert rounds.watch.known.primary["private_ip"] == "10.0.0.6"


@pytest.mark.parametrize("check", ["instance_check", "system_check"])
def test_an_impaired_status_check_of_ec2_is_unhealthy(check):
    aws = Aws()
    rounds = Rounds(aws)
    rounds.round()
    setattr(aws, check, "impaired")
    found, seconds = rounds.until("done")
    assert found.data["check"] == f"ec2_{'instance' if check == 'instance_check' else 'system'}_status"
    assert 60 <= seconds <= 200, "no single stale answer, which may be a minute old"


@pytest.mark.parametrize("said", ["initializing", "insufficient-data", "not-applicable"])
def test_status_checks_without_a_result_are_ignored(said):
    aws = Aws(instance_check=said, system_check=said)
    assert {Rounds(aws).round().status for _ in range(3)} == {"pending"}
    assert Rounds(aws, until="healthy").round().status == "done"


def test_a_starting_cluster_is_neither_healthy_nor_unhealthy_until_its_deadline():
    aws = Aws(state="BOOTSTRAPPING", age=timedelta(minutes=10))
    found, seconds = (rounds := Rounds(aws)).until("done", *HTTP, most=1000)
    assert 20 * 60 <= seconds <= 20 * 60 + 240, "30 minutes after its launch, which was 10 minutes before"
    assert found.data["check"] == "emr_state"
    assert "still BOOTSTRAPPING" in found.data["problem"]
    assert rounds.watch.known.start_by == START + 20 * 60


def test_failures_right_after_the_start_do_not_count():
    aws = Aws(state="STARTING", age=timedelta(0), node=None)
    rounds = Rounds(aws)
    for _ in range(20):
        assert rounds.round().data["status"] in {"starting", "undecided"}
    aws.state, aws.node = "WAITING", instance()
    verdict, seconds = rounds.until("done", "livy")
    assert seconds >= 120
    assert verdict.data["check"] == "livy"


def test_failures_of_a_cluster_that_has_been_ready_count_at_once():
    assert Rounds(Aws()).until("done", "livy")[1] == 40


def test_until_healthy_is_done_at_the_first_poll_of_a_healthy_node():
    found = Rounds(Aws(), until="healthy").round()
    assert (found.status, found.data["status"], found.data["failures"]) == ("done", "healthy", [])


def test_until_healthy_waits_for_a_start_and_fails_when_the_cluster_has_ended():
    aws = Aws(state="STARTING", age=timedelta(0), node=None)
    rounds = Rounds(aws, until="healthy")
    assert rounds.round().status == "pending"
    aws.state = "TERMINATED_WITH_ERRORS"
    found, _ = rounds.until("failed")
    assert (found.data["gone"], found.data["state"], found.data["reason"]) == ("cluster", aws.state, "why")


def test_a_cluster_that_emr_does_not_know_is_not_unhealthy():
    found, seconds = Rounds(Aws(known=False)).until("failed")
    assert found.data["gone"] == "unknown"
    assert seconds >= 60


def test_a_missing_permission_is_an_error():
    denied = ClientError({"Error": {"Code": "UnauthorizedOperation"}}, "DescribeInstanceStatus")
    with pytest.raises(ClientError):
        Rounds(Aws(error=denied)).round()


class Untagged(Aws):
    """EC2 does not show EMR's tags on instances."""

    def tagged_primary(self, _job_flow_id: str) -> None:
        self._note("primary")

    def primary(self, _job_flow_id: str) -> tuple[str, Instance]:
        self._note("asked of EMR")
        return "i-1", instance()


def test_a_primary_without_visible_tags_is_read_from_emr_once():
    aws = Untagged()
    rounds = Rounds(aws)
    for _ in range(100):
        assert rounds.round().status == "pending"
    assert Counter(aws.asked)["asked of EMR"] == 1
    assert rounds.watch.instance_id == "i-1"
    aws.node = instance(state="shutting-down")
    assert rounds.until("done")[0].data["check"] == "ec2_state"


PRIMARY = {"instance_id": "i-1", "private_ip": "10.0.0.5", "private_dns": "ip-10-0-0-5.internal", "public_ip": None}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("private_ip", "10.0.0.5"),
        ("private_dns", "ip-10-0-0-5.internal"),
        ("public_ip", None),
        ("{public_ip}", None),
        ("{instance_id}.emr.example.com", "i-1.emr.example.com"),
        ("{job_flow_id}.example.com", "j-1ABC.example.com"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_host_is_an_address_of_the_node_or_a_name_with_placeholders(host, expected):
    check_host(host)
    assert host_of(PRIMARY, host, job_flow_id=CLUSTER) == expected


@pytest.mark.parametrize("wrong", ["", "{private}", "http://10.0.0.5", "user@host", "a b", None, 3])
def test_a_malformed_host_is_refused(wrong):
    with pytest.raises(InvalidInputError, match="host"):
        check_host(wrong)


def test_credentials_are_read_again_after_a_refusal_and_are_not_stored(monkeypatch):
    passwords = iter(["old-word", "new-word"])
    monkeypatch.setattr(health, "read_login", lambda _: ("reader", next(passwords)))
    rounds = Rounds(Aws(), checks=[{"name": "livy", "auth_conn_id": "livy_login"}])
    rounds.round()
    assert rounds.watch._logins == {"livy_login": ("reader", "old-word")}
    rounds.watch.judge([Result("livy", START, ok=False, problem="HTTP status 401", kind="refused")], now=START)
    rounds.round()
    assert rounds.watch._logins == {"livy_login": ("reader", "new-word")}
    assert "word" not in repr(rounds.watch.known)


def test_a_node_that_does_not_exist_yet_gets_no_requests():
    rounds = Rounds(Aws(state="STARTING", age=timedelta(0), node=None))
    rounds.round()
    assert asyncio.run(rounds.watch.ask()) == []


def test_many_waits_share_one_call_for_the_status_checks(stubbed):
    names = [f"i-{n:02}" for n in range(50)]
    ok = {"Status": "ok"}
    items = [
        {"InstanceId": name, "InstanceState": {"Name": "running"}, "InstanceStatus": ok, "SystemStatus": ok}
        for name in names
    ]
    asked = {"InstanceIds": names, "IncludeAllInstances": True}
    ec2 = stubbed("ec2", ("describe_instance_status", {"InstanceStatuses": items}, asked))
    observed = Observed(lambda *_: ec2, wants=Wants(instance_statuses=set(names)))
    assert {observed.instance_status(name).state for name in names} == {"running"}


def test_a_stored_trigger_with_an_unknown_check_fails_its_wait_and_not_the_triggerer():
    stored = EmrPrimaryHealthTrigger(
        job_flow_id=CLUSTER,
        checks=[{"name": "livy", "port": 8998, "added_by_a_newer_version": True}],
        until="unhealthy",
        unhealthy_after="3/4",
        healthy_after="2/2",
        host="private_ip",
        known={"since": START, "start_by": START},
        waiter_delay=15,
        deadline=START + 100,
    )
    with pytest.raises(InvalidInputError, match="livy"):
        stored.announce(Wants())
