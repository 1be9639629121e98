"""Without a lock store: clusters of earlier tries that EMR shows late, or under another name, are found and ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowTaskTimeout, earliest_start
from airflow_eip_provider.aws import clusters
from airflow_eip_provider.aws.tags import TRY_TAG
from airflow_eip_provider.exceptions import AddressBusyError, KilledError, LaunchUnclearError
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, dynamodb_only, is_associated, launch_calls


@pytest.fixture
def lists_late(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let ListClusters omit clusters younger than a number of seconds."""
    listed = clusters._list_clusters

    def late_by(seconds: float) -> None:
        def late(emr: Any, states: Any, **bounds: Any) -> Any:
            items = listed(emr, states, **bounds)
            now = clocked.clock.now()
            made = [(item, item["Status"]["Timeline"]["CreationDateTime"]) for item in items]
            return [item for item, created in made if (now - created).total_seconds() >= seconds]

        monkeypatch.setattr(clusters, "_list_clusters", late)

    return late_by


@pytest.fixture
def after_launches(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let something happen between RunJobFlow and its answer."""
    client = EmrClusterHook.conn_without_retries

    def do(act: Any) -> None:
        def launching(hook: Any) -> Any:
            conn = client.fget(hook)

            def run_job_flow(**config: Any) -> Any:
                answer = conn.run_job_flow(**config)
                act(answer["JobFlowId"])
                return answer

            return SimpleNamespace(run_job_flow=run_job_flow)

        monkeypatch.setattr(EmrClusterHook, "conn_without_retries", property(launching))

    return do


@pytest.fixture
def killed(clocked: Any, create_operator: Any) -> Task:
    """Try 1, whose process was killed after RunJobFlow; nothing of it is remembered."""
    task = Task(create_operator(deferrable=True))
    task.start()
    clocked.clock.advance(60)
    return task


def test_a_cluster_that_shows_up_before_the_bind_is_ended_then(
    clocked, killed, create_operator, lists_late, deferrable, emr
):
    lists_late(90)
    retry = Task(create_operator(deferrable=deferrable), try_number=2)
    job_flow_id = retry.run()
    assert active_clusters(emr) == [job_flow_id]
    assert launch_calls(clocked) == 2


def test_a_cluster_that_shows_up_after_the_bind_is_ended_by_the_teardown(
    clocked, killed, create_operator, terminate_operator, lists_late, deferrable, emr
):
    lists_late(300)
    job_flow_id = Task(create_operator(), try_number=2).run()
    assert len(active_clusters(emr)) == 2
    clocked.clock.advance(300)
    Task(terminate_operator(job_flow_id, deferrable=deferrable)).run()
    assert active_clusters(emr) == []


def test_a_lost_answer_finds_a_cluster_that_shows_up_within_two_minutes(clocked, create_operator, lists_late, emr):
    lists_late(115)
    clocked.faults.add(operation="RunJobFlow", kind="lost_response")
    job_flow_id = Task(create_operator()).run()
    assert active_clusters(emr) == [job_flow_id]
    assert launch_calls(clocked) == 1


def test_a_lost_answer_and_a_later_cluster_leave_one_after_the_teardown(
    clocked, create_operator, terminate_operator, lists_late, emr
):
    lists_late(600)
    clocked.faults.add(operation="RunJobFlow", kind="lost_response")
    with pytest.raises(LaunchUnclearError):
        Task(create_operator()).run()
    job_flow_id = Task(create_operator(), try_number=2).run()
    assert launch_calls(clocked) == 2
    clocked.clock.advance(600)
    Task(terminate_operator(job_flow_id)).run()
    assert active_clusters(emr) == []


def test_a_retry_that_fails_ends_what_shows_up_late(clocked, killed, create_operator, lists_late, emr):
    lists_late(90)
    retry = Task(create_operator(deferrable=True), try_number=2)
    retry.start()
    clocked.clock.advance(60)
    retry.fail_deferral()
    assert active_clusters(emr) == []


def test_a_teardown_leaves_the_cluster_of_a_newer_try_alone(
    clocked, killed, create_operator, terminate_operator, lists_late, emr
):
    lists_late(10_000)
    job_flow_id = Task(create_operator(), try_number=2).run()
    other = killed.ti.xcoms["job_flow_id"]
    emr.add_tags(ResourceId=other, Tags=[{"Key": TRY_TAG, "Value": "3"}])
    lists_late(0)
    Task(terminate_operator(job_flow_id)).run()
    assert active_clusters(emr) == [other]


def test_a_chain_without_a_retry_lists_no_clusters(clocked, create_operator, terminate_operator):
    clocked.events.clear()
    Task(terminate_operator(Task(create_operator()).run())).run()
    assert clocked.events.calls("ListClusters") == []


def test_a_retry_adopts_a_cluster_of_another_name(clocked, killed, create_operator, overrides, deferrable):
    overrides["Name"] = "daily 2026-11-28 08:05"
    retry = Task(create_operator(job_flow_overrides=overrides, deferrable=deferrable), try_number=2)
    assert retry.run() == killed.ti.xcoms["job_flow_id"]
    assert launch_calls(clocked) == 1


class TaskOfRun(Task):
    """A task whose context says since when its DAG run runs."""

    @property
    def context(self) -> dict[str, Any]:
        return {**super().context, "dag_run": self.dag_run}

    dag_run: Any = None


def test_a_retry_looks_at_clusters_of_its_own_runs_time_only(clocked, create_operator, overrides, emr):
    for number in range(3):
        emr.run_job_flow(**{**overrides, "Name": f"older {number}"})
    clocked.clock.advance(7200)
    began = clocked.clock.now()
    killed = Task(create_operator(deferrable=True))
    killed.start()
    clocked.events.clear()
    retry = TaskOfRun(create_operator(deferrable=True), try_number=2)
    retry.dag_run = SimpleNamespace(start_date=began, run_after=None)
    retry.start()
    looked = {call["request"]["ClusterId"] for call in clocked.events.calls("DescribeCluster")}
    assert looked == {killed.ti.xcoms["job_flow_id"]}


DAY = datetime(2026, 11, 28, 8, tzinfo=UTC)
MARGIN = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("run", "started"),
    [
        ({"start_date": DAY, "data_interval_end": DAY - timedelta(hours=8)}, DAY - timedelta(hours=8)),
        (
            {"start_date": DAY, "run_after": DAY - timedelta(hours=1), "data_interval_end": None},
            DAY - timedelta(hours=1),
        ),
        ({"start_date": DAY, "run_after": DAY + timedelta(days=9)}, DAY),
        ({}, DAY + timedelta(minutes=5)),
    ],
    ids=["Airflow 2", "by an asset", "later logical date", "nothing known but the try"],
)
def test_no_try_began_before_the_oldest_try_that_airflow_knows(run, started):
    ti = SimpleNamespace(start_date=DAY + timedelta(minutes=5))
    found = earliest_start({"dag_run": SimpleNamespace(**run), "ti": ti})
    assert found == (started - MARGIN).timestamp()


def test_without_any_start_every_cluster_may_be_an_earlier_trys():
    assert earliest_start({"ti": SimpleNamespace()}) == 0


@pytest.mark.parametrize("code", ["ExpiredTokenException", "AccessDeniedException"])
def test_an_error_of_the_search_does_not_launch_a_second_cluster(
    clocked, create_operator, terminate_operator, lists_late, deferrable, emr, store, code
):
    lists_late(50)
    clocked.faults.add(operation="RunJobFlow", kind="lost_response")
    clocked.faults.add(operation="ListClusters", kind="error", code=code, status=400, message="no", times=1)
    job_flow_id = Task(create_operator(deferrable=deferrable, lock_store=store)).run()
    assert launch_calls(clocked) == 1
    clocked.clock.advance(120)
    Task(terminate_operator(job_flow_id, lock_store=store)).run()
    assert active_clusters(emr) == []


def test_a_search_without_any_answer_is_an_unclear_launch(clocked, create_operator, deferrable):
    clocked.faults.add(operation="RunJobFlow", kind="lost_response")
    fault = {"code": "AccessDeniedException", "status": 400, "message": "no"}
    clocked.faults.add(operation="ListClusters", kind="error", times=100, **fault)
    with pytest.raises(LaunchUnclearError):
        Task(create_operator(deferrable=deferrable)).run()
    assert launch_calls(clocked) == 1


@pytest.mark.parametrize("shows_after", [0, 45])
@pytest.mark.parametrize(
    "stop", [AirflowTaskTimeout("execution_timeout"), KilledError("eipalloc-1")], ids=["timeout", "kill"]
)
def test_a_launch_that_is_stopped_before_its_answer_leaves_no_cluster(
    clocked, create_operator, lists_late, after_launches, deferrable, emr, stop, shows_after
):
    lists_late(shows_after)

    def stopped(job_flow_id: str) -> None:
        raise stop

    after_launches(stopped)
    task = Task(create_operator(deferrable=deferrable))
    task.start()
    assert task.error is stop
    assert launch_calls(clocked) == 1
    assert active_clusters(emr) == []


def test_a_launch_that_is_stopped_leaves_what_a_newer_try_has_adopted(
    clocked, create_operator, after_launches, deferrable, emr
):
    def adopted(job_flow_id: str) -> None:
        emr.add_tags(ResourceId=job_flow_id, Tags=[{"Key": TRY_TAG, "Value": "2"}])
        raise AirflowTaskTimeout("execution_timeout")

    after_launches(adopted)
    Task(create_operator(deferrable=deferrable)).start()
    assert len(active_clusters(emr)) == 1


def test_a_refused_launch_is_not_searched_for(clocked, create_operator, deferrable):
    clocked.faults.add(operation="RunJobFlow", kind="error", code="ValidationException", status=400, message="no")
    Task(create_operator(deferrable=deferrable)).start()
    assert clocked.events.calls("ListClusters") == []


@pytest.fixture
def old_tags(clocked: Any) -> None:
    """Let DescribeCluster show tags as they were thirty seconds ago."""
    clocked.clock.advance(300)
    clocked.faults.add(operation="DescribeCluster", kind="stale", seconds=30, times=None, field="Tags")


def test_an_older_try_leaves_a_cluster_that_a_newer_one_has_just_adopted(old_tags, clocked, create_operator, emr):
    older = Task(create_operator(deferrable=True, retries=1))
    older.start()
    clocked.clock.advance(60)
    newer = Task(create_operator(deferrable=True, retries=1), try_number=2)
    newer.start()
    adopted = newer.ti.xcoms["job_flow_id"]
    assert adopted == older.ti.xcoms["job_flow_id"]
    older.fail_deferral()
    assert active_clusters(emr) == [adopted]


@pytest.mark.parametrize(("retries", "within"), [(0, 5), (1, 75)])
def test_a_failed_try_ends_its_cluster(clocked, create_operator, emr, retries, within):
    task = Task(create_operator(deferrable=True, retries=retries))
    task.start()
    clocked.clock.advance(30)
    began = clocked.clock.now()
    task.fail_deferral()
    assert active_clusters(emr) == []
    assert (clocked.clock.now() - began).total_seconds() < within


@pytest.fixture
def unknown_for(clocked: Any) -> Any:
    """Let EMR not know any cluster for a number of seconds."""

    def unknown(seconds: float) -> None:
        refused = {"kind": "error", "status": 400, "times": None, "message": "Cluster id is not valid."}
        clocked.faults.add(operation="TerminateJobFlows", code="ValidationException", **refused)
        clocked.faults.add(operation="SetTerminationProtection", code="ValidationException", **refused)
        clocked.faults.add(operation="DescribeCluster", code="InvalidRequestException", **refused)
        clocked.clock.call_later(seconds, clocked.faults.clear, name="EMR knows it")

    return unknown


def _killed(*_: Any) -> None:
    raise KilledError("eipalloc-1")


def test_a_cluster_that_emr_does_not_know_yet_is_ended_within_a_minute(
    clocked, monkeypatch, unknown_for, create_operator, deferrable, emr, store
):
    monkeypatch.setattr(EmrCreateWithStaticIpOperator, "link_cluster", _killed)  # as soon as RunJobFlow has answered
    unknown_for(45)
    Task(create_operator(deferrable=deferrable, lock_store=store)).start()
    assert launch_calls(clocked) == 1
    assert active_clusters(emr) == []


@dynamodb_only
def test_the_next_owner_ends_a_cluster_that_emr_shows_later(
    clocked, monkeypatch, unknown_for, create_operator, deferrable, emr, lock_store, record, leased
):
    unknown_for(200)
    with monkeypatch.context() as patched:
        patched.setattr(EmrCreateWithStaticIpOperator, "link_cluster", _killed)
        Task(create_operator(deferrable=deferrable, lock_store=lock_store)).start()
    assert record().lease is None
    assert [orphan.keep for orphan in record().possible_orphans] == [None]
    clocked.clock.advance(200)
    assert len(active_clusters(emr)) == 1
    following = leased("next").run()
    assert active_clusters(emr) == [following]


@dynamodb_only
def test_a_clean_up_without_the_lock_store_names_the_cluster_that_is_left(clocked, leased, logged, emr):
    task = leased("daily")
    task.start()
    clocked.faults.add(operation="GetItem", kind="error", status=500, times=10_000)
    task.fail_deferral()
    (left,) = active_clusters(emr)
    said = " ".join(logged().split())
    assert f"Cluster {left} is not terminated" in said
    assert f"aws emr terminate-clusters --cluster-ids {left}" in said


@dynamodb_only
def test_without_the_lock_store_and_the_address_a_failed_task_touches_neither_cluster_and_the_next_owner_ends_it(
    clocked, leased, logged, emr, ec2, monkeypatch
):
    """At the hand-over the store is down, and the address has left already."""
    hand_over, allocation_id, thieves = StoreLeaseClient.hand_over, leased("daily")._pristine.allocation_id, []

    def store_goes_down(self, *attempt, **given):
        if not thieves:
            clocked.faults.add(operation="GetItem", kind="error", status=503, times=None)
            thieves.append(clocked.steal(allocation_id))
        hand_over(self, *attempt, **given)

    with monkeypatch.context() as patched:
        patched.setattr(StoreLeaseClient, "hand_over", store_goes_down)
        task = leased("daily", lock_timeout=timedelta(minutes=30))
        task.start()
        task.go_on()
    assert isinstance(task.error, AddressBusyError)
    (left,) = active_clusters(emr)
    assert f"Cluster {left} is not terminated" in " ".join(logged().split())
    address = ec2.describe_addresses()["Addresses"][0]
    assert address["InstanceId"] == thieves[0]
    clocked.faults.clear()
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    following = leased("next")
    following.start()
    following.go_on()
    assert following.error is None
    clocked.clock.advance(60)
    assert active_clusters(emr) == [following.result]


def test_a_cluster_that_a_failure_leaves_alive_loses_an_address_that_ec2_does_not_show_on_it_yet(
    clocked, create_operator, emr, ec2, monkeypatch
):
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=45, times=None)
    associate = ElasticIpHook.associate

    def associated_and_killed(self, **given):
        associate(self, **given)
        _killed()

    monkeypatch.setattr(ElasticIpHook, "associate", associated_and_killed)
    create = create_operator()
    create.terminate_job_flow_on_failure = False  # a parameter of newer versions of the Amazon provider
    Task(create).start()
    clocked.faults.clear()
    assert len(active_clusters(emr)) == 1
    assert not is_associated(ec2)
