from __future__ import annotations

import httpx
import pytest


@pytest.fixture
def control(local_emr):
    with httpx.Client(base_url=f"{local_emr.endpoint_url}/_local/", trust_env=False) as client:
        yield client


def test_health_shows_region_and_time(control, local_emr):
    health = control.get("health").json()
    assert health["status"] == "ok"
    assert health["time"] == local_emr.clock.now().isoformat()
    assert health["clock"] == "ManualClock"
    assert health["azure_sql"] is None


def test_events_are_read_from_where_the_reader_stopped(control, ec2, allocation_id):
    [call] = control.get("events", params={"kind": "call"}).json()["events"]
    assert call["operation"] == "AllocateAddress"
    assert control.get("events", params={"after": call["seq"]}).json()["events"] == []


def test_events_come_in_pages_and_show_whether_the_log_is_the_same(control, ec2, allocation_id, local_emr):
    ec2.describe_vpcs()
    everything = control.get("events").json()
    first = control.get("events", params={"limit": 1}).json()
    assert first["events"] == everything["events"][:1]
    assert first["last"] == len(everything["events"]) == 2
    assert control.get("events", params={"limit": 0}).status_code == 400
    local_emr.reset()
    assert control.get("events").json()["log"] != first["log"]


def test_the_clock_is_turned(control, local_emr):
    before = local_emr.clock.now()
    control.post("clock/advance", json={"seconds": 30}).raise_for_status()
    assert (local_emr.clock.now() - before).total_seconds() == 30
    assert control.get("clock").json()["time"] == local_emr.clock.now().isoformat()


def test_faults_are_planned_and_dropped(control, ec2, refused):
    fault = {"operation": "DescribeVpcs", "kind": "error", "code": "Blocked", "status": 400}
    control.post("faults", json=fault).raise_for_status()
    with refused("Blocked"):
        ec2.describe_vpcs()
    control.post("faults", json=fault).raise_for_status()
    control.delete("faults").raise_for_status()
    assert ec2.describe_vpcs()["Vpcs"]


def test_an_address_is_stolen(control, ec2, allocation_id):
    thief = control.post("steal", json={"allocation_id": allocation_id}).json()["instance_id"]
    assert ec2.describe_addresses()["Addresses"][0]["InstanceId"] == thief


def test_a_permission_is_taken_away(control, ec2, refused):
    control.post("deny", json={"operation": "AllocateAddress"}).raise_for_status()
    with refused("UnauthorizedOperation"):
        ec2.allocate_address(Domain="vpc")


def test_clusters_are_ended_and_made_to_fail(control, start_cluster, state_of, local_emr):
    first = start_cluster()
    control.post("clusters/end", json={"job_flow_id": first}).raise_for_status()
    assert state_of(first) == "TERMINATED"
    plan = {"state": "STARTING", "code": "VALIDATION_ERROR", "message": "no capacity"}
    control.post("clusters/fail-next", json=plan).raise_for_status()
    second = start_cluster()
    local_emr.clock.advance(60)
    assert state_of(second) == "TERMINATED_WITH_ERRORS"


def test_a_reset_begins_anew(control, ec2, allocation_id):
    control.post("reset").raise_for_status()
    assert ec2.describe_addresses()["Addresses"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "nonsense", None, 404, "GET /_local/health"),
        ("POST", "steal", {}, 400, "'allocation_id' is missing"),
        ("POST", "steal", {"allocation_id": "eipalloc-0123456789abcdef0"}, 400, "does not exist"),
        ("POST", "steal", [], 400, "JSON object"),
        ("POST", "faults", {"operation": "X", "kind": "explode"}, 400, "choose one of"),
        ("POST", "faults", {"operation": "X", "kind": "throttle", "often": 1}, 400, "often"),
        ("POST", "clusters/end", {"job_flow_id": "j-UNKNOWN"}, 400, "j-UNKNOWN"),
        ("GET", "azure-sql/firewall-rules", None, 409, "without the Azure SQL"),
        ("PUT", "azure-sql/upstream", {"upstream": None}, 409, "without the Azure SQL"),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(control, method, path, body, status, text):
    answer = control.request(method, path, json=body)
    assert answer.status_code == status
    assert text in answer.json()["error"]


def test_a_body_that_is_not_json_is_refused(control):
    answer = control.post("steal", content=b"{")
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]
