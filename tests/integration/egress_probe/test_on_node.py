"""The probe's conversation with a server that demands encryption, as Azure SQL does."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_eip_provider.egress_probe import on_node
from local_emr.azure_sql import SqlError, tds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


ENCRYPTED = struct.pack(">BHH", 1, 6, 1) + b"\xff\x01"  # an answer to PRELOGIN: encryption is on


class TlsSide:
    """The server's end of TLS: the handshake inside PRELOGIN packets, then TDS packets inside TLS."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self.connection = connection
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush_handshake()
                message = tds.receive(connection)
                if message is None:
                    raise ConnectionError("the client is gone") from None
                self.incoming.write(message[1])
            else:
                break
        self._flush_handshake()

    def _flush_handshake(self) -> None:
        if self.outgoing.pending:
            tds.send(self.connection, self.outgoing.read())

    def recv(self, count: int) -> bytes:
        while True:
            try:
                return self.tls.read(count)
            except ssl.SSLWantReadError:
                more = self.connection.recv(4096)
                if not more:
                    return b""
                self.incoming.write(more)

    def sendall(self, data: bytes) -> None:
        self.tls.write(data)
        self.connection.sendall(self.outgoing.read())


class EncryptedServer:
    """Takes one login, through TLS, and answers."""

    def __init__(self, certificate: Path, response: bytes) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.response = response
        self.login: tds.Login | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.place = f"127.0.0.1:{self.listener.getsockname()[1]}/sales"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection, contextlib.suppress(OSError):  # a client that does not trust us goes away
            connection.settimeout(60)
            tds.receive(connection)
            tds.send(connection, ENCRYPTED)
            tls: Any = TlsSide(connection, self.context)
            kind, data = tds.receive(tls) or (0, b"")
            assert kind == tds.LOGIN7
            self.login = tds.parse_login(data)
            tds.send(tls, self.response)

    def close(self) -> None:
        self.thread.join(60)
        self.listener.close()


def certificate(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = certificate(tmp_path / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    return made


@pytest.fixture
def serve() -> Iterator[Callable[[Path, bytes], EncryptedServer]]:
    made: list[EncryptedServer] = []

    def start(certificate: Path, response: bytes) -> EncryptedServer:
        made.append(EncryptedServer(certificate, response))
        return made[-1]

    yield start
    for server in made:
        server.close()


def refusal(number: int, text: str = "No.") -> bytes:
    return tds.refusal(SqlError(number, text), server="sales")


def test_the_login_is_encrypted_and_its_refusal_is_understood(serve, trusted):
    server = serve(trusted, refusal(18456, "Login failed for user 'airflow-eip-probe'."))
    found = on_node.probe_server(server.place, "203.0.113.9", 30, 0)
    assert "passes the firewall" in found
    assert "18456: Login failed for user 'airflow-eip-probe'." in found
    assert (server.login.user, server.login.database, server.login.server) == (
        "airflow-eip-probe",
        "sales",
        "127.0.0.1",
    )
    assert len(server.login.password) == 32


def test_a_redirected_login_passed_the_firewall(serve, trusted):
    login = tds.Login(user="x", password="", server="", database="sales", version=0x74000004)
    server = serve(trusted, tds.login_answer(login, database="sales"))
    assert "passes the firewall" in on_node.probe_server(server.place, "203.0.113.9", 30, 0)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (47073, "public network access is disabled"),
        (40914, "only virtual networks"),
        (40532, "does not know a server of that name"),
        (50000, "an unexpected answer"),
    ],
)
def test_other_refusals_are_reported_with_their_meaning(serve, trusted, number, message):
    server = serve(trusted, refusal(number))
    with pytest.raises(on_node.ProblemError, match=message):
        on_node.probe_server(server.place, "203.0.113.9", 30, 0)


def test_an_answer_without_the_server_certificate_is_not_trusted(serve, trusted, tmp_path):
    server = serve(certificate(tmp_path / "impostor.pem"), refusal(18456))
    with pytest.raises(on_node.ProblemError, match="cannot be trusted"):
        on_node.probe_server(server.place, "203.0.113.9", 30, 0)
    assert server.login is None


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request", tds.done()])
def test_an_invalid_answer_to_a_login_never_passes(answer):
    with pytest.raises(on_node.NoAnswerError):
        on_node.outcome(answer)
