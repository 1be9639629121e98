"""Livy on a primary node, as its REST API documentation and its source have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

FILE = "s3://code/job.py"
APPLICATIONS = [{"Name": "Spark"}, {"Name": "Livy"}]


class Livy:
    """A client of one server."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}:8998"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, self._url + path, json=body, timeout=10)
        return answer.status_code, answer.json()

    def post(self, **body: Any) -> Any:
        status, batch = self.call("POST", "/batches", {"file": FILE, **body})
        assert status == 201, batch
        return batch

    def get(self, path: str) -> Any:
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer


@pytest.fixture
def start_livy(local_emr: LocalAws, start_cluster: Callable[..., str]) -> Callable[[], tuple[str, Livy]]:
    def start() -> tuple[str, Livy]:
        job_flow_id = start_cluster(Applications=APPLICATIONS)
        local_emr.clock.advance(300)
        return job_flow_id, Livy(local_emr.cluster(job_flow_id).primary.private_ip_address)

    return start


@pytest.fixture
def livy(start_livy: Callable[[], tuple[str, Livy]]) -> Livy:
    return start_livy()[1]


def test_a_batch_starts_runs_and_succeeds(livy, local_emr):
    batch = livy.post(name="daily", args=["--sleep", "60"])
    assert (batch["id"], batch["name"], batch["state"], batch["appId"]) == (0, "daily", "starting", None)
    assert batch["appInfo"] == {"driverLogUrl": None, "sparkUiUrl": None}
    local_emr.clock.advance(11)
    batch = livy.get("/batches/0")
    assert batch["state"] == "running"
    assert batch["appId"].startswith("application_")
    assert batch["appInfo"]["driverLogUrl"].endswith(batch["appId"])
    local_emr.clock.advance(60)
    assert livy.get("/batches/0/state") == {"id": 0, "state": "success"}


def test_a_batch_whose_program_fails_is_dead(livy, local_emr):
    livy.post(args=["--exit", "3"])
    local_emr.clock.advance(61)
    assert livy.get("/batches/0")["state"] == "dead"
    assert "Command exited with code 3" in livy.get("/batches/0/log")["log"]


def test_a_batch_is_found_by_its_name_too(livy):
    livy.post(name="daily-2026")
    assert livy.get("/batches/daily-2026") == livy.get("/batches/0")
    assert livy.get("/batches/daily-2026/state") == {"id": 0, "state": "starting"}
    assert livy.get("/batches/daily-2026/log")["id"] == 0
    assert livy.call("GET", "/batches/other") == (404, {"msg": "Session 'other' not found."})


def test_an_older_server_takes_ids_only(start_livy, local_emr):
    job_flow_id, livy = start_livy()
    livy.post(name="daily")
    local_emr.trouble_service(job_flow_id, "livy", "ids-only")
    assert livy.get("/batches/0")["name"] == "daily"
    assert livy.call("GET", "/batches/daily/state") == (400, {"msg": 'For input string: "daily"'})


def test_digits_are_an_id_and_never_a_name(livy):
    livy.post(name="7")
    assert livy.call("GET", "/batches/7") == (404, {"msg": "Session '7' not found."})


def test_a_name_is_given_once_and_is_free_again_when_its_batch_is_forgotten(livy):
    livy.post(name="daily")
    status, answer = livy.call("POST", "/batches", {"file": FILE, "name": "daily"})
    assert (status, answer["msg"]) == (400, "Rejected, Reason: Duplicate session name: Some(daily)")
    assert livy.call("DELETE", "/batches/daily") == (200, {"msg": "deleted"})
    assert livy.post(name="daily")["id"] == 2, "the refused one has used up an id"


@pytest.mark.parametrize("body", [{}, {"file": ""}, {"file": FILE, "colour": "red"}, [1]])
def test_requests_that_make_no_sense_are_refused(livy, body):
    status, answer = livy.call("POST", "/batches", body)
    assert status == 400
    assert answer["msg"]
    assert livy.get("/batches")["total"] == 0


def test_each_server_counts_its_batches_from_0(start_livy):
    (_, first), (_, second) = start_livy(), start_livy()
    one, other = first.post(name="one"), second.post(name="other")
    assert (one["id"], other["id"]) == (0, 0)
    assert second.get("/batches/0")["name"] == "other"
    assert second.call("GET", "/batches/one")[0] == 404


def test_batches_are_listed_by_page(livy):
    for number in range(5):
        livy.post(name=f"batch-{number}")
    page = livy.get("/batches?from=1&size=2")
    assert (page["from"], page["total"], [each["id"] for each in page["sessions"]]) == (1, 5, [1, 2])
    assert livy.call("GET", "/batches?from=x")[0] == 400


def test_a_deleted_batch_is_ended_and_forgotten(livy, local_emr):
    livy.post(args=["--sleep", "600"])
    assert livy.call("DELETE", "/batches/0") == (200, {"msg": "deleted"})
    assert livy.call("GET", "/batches/0")[0] == 404
    assert livy.call("DELETE", "/batches/0")[0] == 404
    assert [event["state"] for event in local_emr.events.read(kind="batch")] == ["starting", "killed", "forgotten"]


def test_a_batch_is_forgotten_ten_minutes_after_its_end(livy, local_emr):
    livy.post(args=["--sleep", "30"])
    local_emr.clock.advance(30 + 599)
    assert livy.get("/batches/0")["state"] == "success"
    local_emr.clock.advance(2)
    assert livy.call("GET", "/batches/0")[0] == 404


@pytest.mark.parametrize("state", ["killed", "error", "dead"])
def test_a_batch_can_be_made_to_end_otherwise(start_livy, local_emr, state):
    job_flow_id, livy = start_livy()
    livy.post(name="daily", args=["--sleep", "600"])
    local_emr.end_batch(job_flow_id, "daily", state=state)
    assert livy.get("/batches/0")["state"] == state
    local_emr.clock.advance(599)
    assert livy.get("/batches/0")["state"] == state, "its own end changes nothing any more"
    for wrong in ({"batch": 0}, {"batch": 9}, {"batch": 0, "state": "success"}):
        with pytest.raises(ValueError, match=r"batch|Session"):
            local_emr.end_batch(job_flow_id, **wrong)


def test_a_node_that_replaces_the_primary_knows_no_batch(start_livy, local_emr):
    job_flow_id, livy = start_livy()
    livy.post(args=["--sleep", "600"])
    local_emr.replace_primary(job_flow_id)
    local_emr.clock.advance(60)
    after = Livy(local_emr.cluster(job_flow_id).primary.private_ip_address)
    assert after.get("/batches")["total"] == 0
    assert after.post()["id"] == 0


def test_batches_end_with_their_cluster(start_livy, local_emr, emr):
    job_flow_id, livy = start_livy()
    livy.post(args=["--sleep", "600"])
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    local_emr.clock.advance(700)
    assert [event["state"] for event in local_emr.events.read(kind="batch")] == ["starting"]


def test_the_log_has_pages(livy, local_emr):
    livy.post(args=["--exit", "1"])
    local_emr.clock.advance(61)
    whole = livy.get("/batches/0/log?from=0&size=-1")
    assert whole["log"][0] == "stdout: "
    assert livy.get("/batches/0/log?size=1") == {
        "id": 0,
        "from": whole["total"] - 1,
        "total": whole["total"],
        "log": whole["log"][-1:],
    }


def test_changes_of_a_batch_are_in_the_event_log(start_livy, local_emr):
    job_flow_id, livy = start_livy()
    livy.post(name="daily", args=["--sleep", "60"])
    local_emr.clock.advance(61)
    events = local_emr.events.read(kind="batch")
    assert [event["state"] for event in events] == ["starting", "running", "success"]
    assert {(event["job_flow_id"], event["batch_id"], event["name"]) for event in events} == {(job_flow_id, 0, "daily")}
    assert events[-1]["app_id"] == livy.get("/batches/0")["appId"]
