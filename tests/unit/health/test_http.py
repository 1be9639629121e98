"""HTTP checks against a real server."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health import http
from airflow_eip_provider.health.checks import DEFAULT_CHECKS, LIVY, YARN, HttpCheck
from airflow_eip_provider.health.http import HttpChecker

if TYPE_CHECKING:
    from airflow_eip_provider.health.judgement import Result


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)


def checked(*checks: HttpCheck, logins: dict[str, tuple[str, str]] | None = None, host: str = "127.0.0.1") -> Any:
    checker = HttpChecker(checks)
    checker.prepare()
    found = asyncio.run(checker.check_all(host, logins or {}))
    return found[0] if len(found) == 1 else found


def test_a_healthy_node_passes_every_default_check(services):
    found: list[Result] = checked(*(replace(check, port=services.port) for check in DEFAULT_CHECKS))
    assert [(result.check, result.ok) for result in found] == [("yarn", True), ("hdfs", True), ("livy", True)]
    assert "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState" in {path for path, _ in services.asked}


def test_a_failure_names_the_request_and_the_answer(services):
    services.answers["/batches"] = (500, "broken")
    found = checked(replace(LIVY, port=services.port))
    asked = f"GET http://127.0.0.1:{services.port}/batches?from=0&size=1"
    assert (found.ok, found.problem) == (False, f"{asked}: HTTP status 500 (expected 200)")


def test_a_check_that_passes_when_repeated_is_not_a_failure(services, monkeypatch):
    services.answers["/batches"] = (500, "broken")

    async def repaired(_seconds: float) -> None:
        if services.asked:  # the HTTP client sleeps, too
            services.answers["/batches"] = (200, {})

    monkeypatch.setattr(http.asyncio, "sleep", repaired)
    assert checked(replace(LIVY, port=services.port)).ok
    assert len(services.asked) == 2


def test_a_closed_port_is_a_failure():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = checked(replace(LIVY, port=unused.getsockname()[1]))
    assert found.failed
    assert "connect" in found.problem.lower()


def test_checks_run_at_the_same_time_each_with_its_own_timeout(services):
    services.answers["/batches"] = (0, None)
    hanging = replace(LIVY, port=services.port, timeout_seconds=0.4)
    start = time.monotonic()
    found = checked(*(replace(hanging, name=f"hangs{k}") for k in range(5)), replace(YARN, port=services.port))
    assert time.monotonic() - start < 4  # five times twice 0.4 s one after the other are as much
    assert [result.ok for result in found] == [False] * 5 + [True]
    assert "no complete answer within 0.4 s" in found[0].problem or "no answer within 0.4 s" in found[0].problem


def test_an_answer_that_never_ends_times_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = checked(replace(LIVY, port=server.getsockname()[1], timeout_seconds=0.3))
    assert found.failed


def test_a_very_long_answer_is_not_read_completely(services, monkeypatch):
    monkeypatch.setattr(http, "_MOST_BYTES", 1000)
    services.answers["/batches"] = (200, b"x" * 5000)
    assert "longer than 1000 bytes" in checked(replace(LIVY, port=services.port)).problem


def test_a_redirect_is_not_followed(services):
    services.answers["/old"] = (302, "moved")
    assert "HTTP status 302" in checked(replace(LIVY, port=services.port, path="/old")).problem


def test_credentials_are_sent_but_never_shown(services, caplog):
    caplog.set_level("DEBUG")
    services.answers["/batches"] = (500, "broken")
    check = replace(LIVY, port=services.port, auth_conn_id="livy_login")
    found = checked(check, logins={"livy_login": ("reader", "s3cret-word")})
    assert services.asked[0][1] == "Basic " + base64.b64encode(b"reader:s3cret-word").decode()
    assert "s3cret-word" not in f"{found} {check} {check.as_mapping()} {caplog.text}"
    assert services.asked[0][1].removeprefix("Basic ") not in caplog.text


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_have_their_own_kind(services, status):
    services.answers["/batches"] = (status, "who are you")
    found = checked(replace(LIVY, port=services.port))
    assert (found.ok, found.kind) == (False, "refused")


def test_neither_the_environments_proxy_nor_its_netrc_is_used(services, monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert checked(replace(LIVY, port=services.port)).ok
    assert services.asked[0][1] is None


def test_a_missing_file_of_certificates_is_refused(tmp_path):
    check = HttpCheck(name="livy", port=8998, scheme="https", verify=str(tmp_path / "ca.pem"))
    with pytest.raises(InvalidInputError, match=r"ca\.pem"):
        HttpChecker([check]).prepare()


def test_tls_on_a_port_without_tls_is_a_failure_not_a_refusal(services):
    found = checked(replace(LIVY, port=services.port, scheme="https", verify=False))
    assert (found.failed, found.kind) == (True, "")


@pytest.fixture
def certificate(tmp_path: Any) -> tuple[str, str]:
    """The paths of a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "primary")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "ca.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(paths[0]), str(paths[1])


@pytest.fixture
def with_tls(services: Any, certificate: tuple[str, str]) -> str:
    """Enable TLS on the server; return the path of its CA certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    services.server.socket = context.wrap_socket(services.server.socket, server_side=True)
    return certificate[0]


def test_only_certificates_of_the_given_ca_are_trusted(services, with_tls):
    check = replace(LIVY, port=services.port, scheme="https")
    assert checked(replace(check, verify=with_tls)).ok
    assert checked(replace(check, verify=False)).ok
    found = checked(check)
    assert (found.ok, found.kind) == (False, "refused"), "that is no sign of a sick service"
    assert "certificate" in found.problem.lower()
