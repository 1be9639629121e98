"""Verdicts on connections to a database, by the lease periods and the path of the packets."""

from __future__ import annotations

import re
import socket
from dataclasses import replace

import pytest

from airflow_eip_provider.audit.flow_logs import Flow, Period, place_of
from airflow_eip_provider.audit.lease_periods import LeasePeriod
from airflow_eip_provider.audit.report import Database, judge
from airflow_eip_provider.exceptions import InvalidInputError

THEN, LATER = Period(1000, 1060), Period(9000, 9060)
FLOW = Flow("eni-1", "i-1", "10.0.0.9", "203.0.113.50", 1433, THEN, opened=True, rejected=False)
OURS = LeasePeriod("daily on j-1", Period(900, 2000), frozenset({"i-1", "10.0.0.9"}), frozenset({"i-2"}), token=7)
GATEWAY = LeasePeriod(
    "daily on j-2", Period(900, 2000), frozenset({"eni-nat"}), frozenset({"10.0.1.5"}), behind_gateway=True
)
DATABASE = Database.parse("203.0.113.0/24")


@pytest.mark.parametrize(
    ("flow", "lease_periods", "verdict", "why"),
    [
        (FLOW, [OURS], "tenancy", "it had the address at that time"),
        (replace(FLOW, instance_id="i-2"), [OURS], "stranger", "a node of the same cluster, without the address"),
        (replace(FLOW, instance_id="i-3"), [OURS], "stranger", "not in the cluster of any lease"),
        (replace(FLOW, instance_id=None), [OURS], "tenancy", "it had the address at that time"),
        (replace(FLOW, period=LATER), [OURS], "stranger", "its lease was from 1970-01-01T00:15:00Z to"),
        (replace(FLOW, period=LATER, instance_id="i-3"), [OURS], "stranger", "no lease at that time"),
        (FLOW, [], "stranger", "no lease at that time"),
        (replace(FLOW, interface_id="eni-nat", instance_id=None, source="10.0.1.5", forwarded=True), [GATEWAY],
         "tenancy", "the NAT gateway that had the address at that time"),
        (replace(FLOW, interface_id="eni-nat", instance_id=None, source="10.0.9.9", forwarded=True), [GATEWAY],
         "stranger", "it used the cluster's NAT gateway, but is not a node of the cluster"),
        (replace(FLOW, instance_id=None, source="10.0.1.5"), [GATEWAY],
         "stranger", "a node of the same cluster, not through its NAT gateway"),
        (replace(FLOW, interface_id="eni-x", instance_id=None, source="10.0.1.5", forwarded=True),
         [replace(GATEWAY, resource_ids=frozenset())], "tenancy", "like a NAT gateway that EC2 no longer shows"),
    ],
)  # fmt: skip
def test_a_verdict_names_its_reason(flow, lease_periods, verdict, why):
    (found,) = judge([flow], [DATABASE], lease_periods)
    assert found.verdict == verdict
    assert why in found.why


def test_flows_of_one_sender_are_counted_together_and_strangers_come_first():
    again = replace(FLOW, period=Period(1060, 1120), opened=False, rejected=True)
    found = judge([FLOW, again, replace(FLOW, instance_id="i-3", source="10.0.0.3")], [DATABASE], [OURS])
    assert [connections.verdict for connections in found] == ["stranger", "tenancy"]
    assert (found[1].records, found[1].opened, found[1].rejected, found[1].token) == (2, 1, 1, 7)
    assert (found[1].first, found[1].last) == (1000, 1120)


def test_two_databases_on_one_host_are_counted_separately():
    databases = [Database.parse("203.0.113.50:5432"), Database.parse("203.0.113.50:3306")]
    found = judge([replace(FLOW, port=port) for port in (5432, 3306, 3306)], databases, [OURS])
    assert {each.database: each.records for each in found} == {"203.0.113.50:5432": 1, "203.0.113.50:3306": 2}


@pytest.mark.parametrize(
    ("text", "networks", "port"),
    [
        ("203.0.113.10", ["203.0.113.10/32"], 1433),
        ("203.0.113.10:1444", ["203.0.113.10/32"], 1444),
        ("203.0.113.0/24", ["203.0.113.0/24"], 1433),
        ("[2001:db8::1]:1444", ["2001:db8::1/128"], 1444),
        ("2001:db8::1", ["2001:db8::1/128"], 1433),
        ("server.example:1444", ["192.0.2.1/32", "192.0.2.2/32"], 1444),
    ],
)
def test_a_database_is_a_host_an_address_or_a_block(monkeypatch, text, networks, port):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{k}", 0)) for k in (2, 1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    database = Database.parse(text)
    assert [str(network) for network in database.networks] == networks
    assert database.port == port


@pytest.mark.parametrize(
    ("text", "destination", "port", "serves"),
    [
        ("203.0.113.50", "203.0.113.50", 11500, True),
        ("203.0.113.50", "203.0.113.50", 443, False),
        ("203.0.113.50:5432", "203.0.113.50", 1433, False),
        ("203.0.113.0/24", "203.0.114.1", 1433, False),
        ("[2001:db8::1]:1433", "2001:db8::1", 1433, True),
    ],
)
def test_a_database_serves_its_port_and_those_that_azure_redirects_to(text, destination, port, serves):
    assert Database.parse(text).serves(replace(FLOW, destination=destination, port=port)) is serves


@pytest.mark.parametrize(
    "text", ["203.0.113.10:port", "203.0.113.10:0", "203.0.113.10:70000", "203.0.113.0/99", "no such host"]
)
def test_a_database_that_is_none(text, monkeypatch):
    def fails(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(InvalidInputError, match=re.escape(text)):
        Database.parse(text)


@pytest.mark.parametrize(
    ("uri", "place"), [("s3://b", ("b", "")), ("s3://b/p", ("b", "p/")), ("s3://b/p/q/", ("b", "p/q/"))]
)
def test_flow_logs_are_in_a_bucket_and_below_a_prefix(uri, place):
    assert place_of(uri) == place


@pytest.mark.parametrize("uri", ["b/p", "https://b/p", "s3:///p"])
def test_a_place_that_is_not_in_s3_is_refused(uri):
    with pytest.raises(InvalidInputError, match="not an S3 URI"):
        place_of(uri)
