"""The commands with several Elastic IPs, any one of which can be used."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.command import INTERRUPTED
from harness.life import Task, clock_of
from tests.integration.cli.conftest import assert_doctor_only_read, last_event
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.leases import Queue
    from tests.integration.cli.results import Said

STORE = "dynamodb://leases?create=true"
TAG = ["--tag", "purpose=azure-sql"]
NAMED = ["--lock-store", STORE]


@pytest.fixture(autouse=True)
def environment(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")


@pytest.fixture
def pool(ec2: Any) -> list[str]:
    """Three addresses with a tag, sorted as the commands sort them; and one without it."""
    pool = sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(3))
    ec2.create_tags(Resources=pool, Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    ec2.allocate_address(Domain="vpc")
    return pool


@pytest.fixture
def started(create_operator: Any, queue: Queue) -> Callable[..., Task]:
    """Start a creating task, and run it until it has an address or waits in the queue."""

    def start(dag_id: str, addresses: Any, *, waits: bool = False, **more: Any) -> Task:
        given = {"allocation_id": addresses, "lock_store": STORE, "deferrable": True, "prewarm": False, **more}
        task = Task(create_operator(**given), dag_id=dag_id)
        task.start()
        if not waits:
            queue.until(lambda: task.ended, task)
            assert task.error is None, task.error
        return task

    return start


@pytest.fixture
def ended(terminate_operator: Any, pool: list[str]) -> Callable[[Task], None]:
    """Run the teardown of a task."""

    def end(task: Task) -> None:
        operator = terminate_operator(task.result, allocation_id=pool, lock_store=STORE)
        Task(operator, dag_id="teardown").run()

    return end


def address_of(task: Task) -> str:
    return str(task.ti.xcoms["static_ip"]["allocation_id"])


def each(pool: list[str]) -> list[str]:
    return [word for name in pool for word in ("--allocation-id", name)]


@pytest.fixture
def busy(started: Any, pool: list[str]) -> list[Task]:
    """Two tasks with the first two addresses; one that waits for either of them, and one for the second only."""
    holders = [started(f"holder{number}", pool[:2]) for number in range(2)]
    return [*holders, started("either", pool[:2], waits=True), started("single", pool[1], waits=True)]


def test_status_lists_an_owner_in_several_queues_once(run, busy, pool):
    said = run("status", *TAG, *NAMED, "--json")
    assert said.status == 0
    assert [one["allocation_id"] for one in said.result["addresses"]] == pool
    assert [len(one["queue"]) for one in said.result["addresses"]] == [1, 2, 0]
    assert [(one["owner"].split("/")[1], one["places"]) for one in said.result["waiting"]] == [
        ("either", {pool[0]: 1, pool[1]: 1}),
        ("single", {pool[1]: 2}),
    ]
    text = run("status", *TAG, *NAMED).out
    assert "3, 1 of them free" in text
    assert "2, 1 of them for more than one of these addresses" in text
    (row,) = [line for line in text.splitlines() if "/either/" in line]
    assert f"1 for {pool[0]}, 1 for {pool[1]}" in row


def test_what_several_have_is_what_each_has_alone(run, busy, pool):
    several = run("status", *each(pool), *NAMED, "--json").result["addresses"]
    alone = [run("status", "--allocation-id", name, *NAMED, "--json").result for name in pool]
    assert several == [{k: v for k, v in one.items() if k not in {"account", "region"}} for one in alone]


def test_a_tag_that_one_address_has_keeps_the_form_for_programs(run, pool, ec2):
    ec2.delete_tags(Resources=pool[1:], Tags=[{"Key": "purpose"}])
    assert [one["allocation_id"] for one in run("status", *TAG, "--json").result["addresses"]] == pool[:1]
    assert run("status", *TAG).out == run("status", "--allocation-id", pool[0]).out


def test_status_warns_of_an_address_that_is_gone_and_shows_the_others(run, pool, ec2):
    ec2.release_address(AllocationId=pool[0])
    said = run("status", *each(pool), "--json")
    assert said.status == 0
    assert any(line.startswith("warning: ") and pool[0] in line for line in said.err.splitlines())
    assert [one["allocation_id"] for one in said.result["addresses"]] == pool[1:]
    for name in pool[1:]:
        ec2.release_address(AllocationId=name)
    assert run("status", *each(pool)).status == 1


def test_watching_shows_who_waits_for_several_addresses_until_it_has_one(
    busy, pool, queue, ended, clocked, monkeypatch
):
    shown, looks = Terminal(), [0]

    def sleep(_: float) -> None:
        looks[0] += 1
        if looks[0] == 1:
            with clock.used(clock_of(clocked)):  # a pause of a task is no look of the command
                ended(busy[1])
                queue.until(lambda: busy[2].ended, *busy[2:])
            shown.truncate(0)
        if looks[0] == 2:
            raise KeyboardInterrupt

    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", shown)
    with clock.used(clock_of(clocked, sleep)):
        status = main(["status", *TAG, *NAMED, "--watch"])
    monkeypatch.undo()
    assert status == INTERRUPTED
    assert "1, 0 of them for more than one" in shown.getvalue()


@pytest.mark.parametrize("command", [["status"], ["doctor"], ["wait", "--free"], ["release", "--job-flow-id", "j-1"]])
def test_a_tag_that_no_address_has_is_an_error(run, command):
    said = run(*command, "--tag", "purpose=nobody")
    assert said.status == 1
    assert "no address in region" in said.err


def test_history_is_one_list_the_newest_first(run, started, pool, terminate_operator, clocked):
    for number, name in enumerate((pool[1], pool[0])):
        task = started(f"dag{number}", name)
        operator = terminate_operator(task.result, allocation_id=name, lock_store=STORE)
        Task(operator, dag_id=f"dag{number}").run()
        clocked.clock.advance(600)
    said = run("history", *each(pool), *NAMED, "--json")
    assert {one["allocation_id"]: len(one["leases"]) for one in said.result["addresses"]} == dict(
        zip(pool, (1, 1, 0), strict=True)
    )
    assert f"{pool[2]}: the lock store has no record" in said.err
    rows = [line.split() for line in run("history", *TAG, *NAMED).out.splitlines()]
    assert [row[0] for row in rows] == ["ADDRESS", pool[0], pool[1]]
    read = list(csv.DictReader(io.StringIO(run("history", *TAG, *NAMED, "--csv").out)))
    assert [(row["allocation_id"], row["owner"].split("/")[1]) for row in read] == [
        (pool[0], "dag1"),
        (pool[1], "dag0"),
    ]


def test_wait_ends_when_any_address_is_free_and_prints_which(run, busy, pool):
    said = run("wait", *each(pool), *NAMED, "--free", "--json")
    assert (said.status, said.result["allocation_id"]) == (0, pool[2])
    said = run("wait", *each(pool[:2]), *NAMED, "--free", "--timeout", "10s")
    assert said.status == 1
    assert all(name in said.err for name in pool[:2])


def test_wait_knows_which_address_the_cluster_has(run, busy, pool):
    said = run("wait", *TAG, "--job-flow-id", busy[1].result, "--json")
    assert (said.status, said.result["allocation_id"]) == (0, address_of(busy[1]))


def test_release_finds_the_address_of_the_cluster(run, busy, pool):
    said = run("release", *TAG, "--job-flow-id", busy[1].result, *NAMED, "--json")
    assert said.status == 0, said.err
    assert said.result["allocation_id"] == address_of(busy[1])
    assert said.result["released"] is True
    left = run("status", *each(pool[:2]), *NAMED, "--json").result["addresses"]
    assert [one["lease"] and one["lease"]["carrier"] for one in left] == [
        busy[0].result if name == address_of(busy[0]) else None for name in pool[:2]
    ]


@pytest.mark.parametrize("left", [2, 1])
def test_release_finds_the_address_that_has_lost_its_tag(run, busy, pool, ec2, left):
    held = address_of(busy[1])
    gone = [held, *(name for name in pool if name != held)][: len(pool) - left]
    ec2.delete_tags(Resources=gone, Tags=[{"Key": "purpose"}])
    said = run("release", *TAG, "--job-flow-id", busy[1].result, *NAMED, "--json")
    assert said.status == 0, said.err
    assert (said.result["allocation_id"], said.result["released"]) == (held, True)
    assert run("status", "--allocation-id", held, *NAMED, "--json").result["lease"] is None


def test_release_of_several_needs_the_cluster(run, pool):
    said = run("release", *each(pool))
    assert said.status == 2
    assert "name the cluster with --job-flow-id" in said.err


@pytest.fixture
def doctor(run: Any, overrides: dict[str, Any], tmp_path: Any, clocked: Any) -> Callable[..., Said]:
    """Check the addresses with the cluster of the overrides; check that nothing is changed."""
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(overrides))

    def examine(*arguments: str) -> Said:
        before = last_event(clocked)
        said = run("doctor", "--job-flow-overrides", str(path), *arguments)
        assert_doctor_only_read(clocked, before)
        return said

    return examine


def test_doctor_examines_each_address(doctor, pool):
    said = doctor(*TAG, "--json")
    assert said.status == 0
    assert [(one["allocation_id"], one["left_out"]) for one in said.result["addresses"]] == [(n, False) for n in pool]
    alone = doctor("--allocation-id", pool[0], "--json").result["checks"]
    assert all(one["checks"] == alone for one in said.result["addresses"])
    text = doctor(*TAG).out
    assert text.count("RESULT") == 1
    assert f"Elastic IP {pool[2]}: same as {pool[0]}" in text


def test_doctor_shows_which_address_is_left_out_and_why(doctor, pool, ec2, subnet_id, clocked):
    ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=pool[0])
    ec2.release_address(AllocationId=pool[1])
    clocked.clock.advance(300)
    said = doctor(*each(pool))
    assert said.status == 0
    assert "errors: 0, warnings: 2" in said.err
    assert said.out.startswith(f"Elastic IP {pool[2]}\n")
    for name, why in ((pool[0], "NAT gateway"), (pool[1], "does not exist in region")):
        part = said.out.partition(f"Elastic IP {name}: left out")[2].partition("\nElastic IP ")[0]
        assert why in " ".join(part.split())
    result = doctor(*each(pool), "--json").result
    assert [one["left_out"] for one in result["addresses"]] == [True, True, False]


def test_doctor_finds_an_error_when_no_address_is_usable(doctor, pool, ec2):
    for name in pool[:2]:
        ec2.release_address(AllocationId=name)
    said = doctor(*each(pool[:2]))
    assert said.status == 3
    assert "errors: 2" in said.err


def test_doctor_finds_an_error_of_the_cluster_once(doctor, pool, overrides, tmp_path):
    (tmp_path / "cluster.json").write_text(
        json.dumps({**overrides, "Instances": {**overrides["Instances"], "Ec2SubnetId": "subnet-0123456789abcdef9"}})
    )
    said = doctor(*TAG)
    assert said.status == 3
    assert "errors: 1," in said.err


def test_iam_policy_names_every_address(run, pool):
    role = "arn:aws:iam::123456789012:role/R"
    where = ["--service-role", role, "--instance-role", role, "--account", "123456789012", "--region", "eu-west-1"]
    text = json.dumps(run("iam-policy", *each(pool), *where).result)
    assert all(f":elastic-ip/{name}" in text for name in pool)
    text = json.dumps(run("iam-policy", *TAG, *where).result)
    assert '"ec2:ResourceTag/purpose": ["azure-sql"]' in text
    assert pool[0] not in text


def test_associate_is_about_the_one_address_of_its_file(run, pool, tmp_path):
    path = tmp_path / "parametersValues.json"
    path.write_text(json.dumps({"allocationID": pool, "clusterVPCID": "vpc-01234567"}))
    said = run("associate", "--parameters", str(path))
    assert said.status == 2
    assert "'allocationID' is a list, not a string" in said.err


def test_audit_counts_leases_of_one_address(run, pool):
    said = run("audit", *TAG, "--logs", "s3://logs/vpc", "--database", "10.0.0.1", "--lease", "1", *NAMED)
    assert said.status == 2
    assert "each Elastic IP counts its own leases" in said.err
