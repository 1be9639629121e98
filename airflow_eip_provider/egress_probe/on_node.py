"""
Shows from which address a node's connections leave, and whether Azure SQL servers admit it; a step of an EMR cluster.

It runs on every EMR node without installation: with Python 3.7 or newer and the standard library; with ``--executors``
under spark-submit. It needs no credential: Azure SQL checks the firewall before the login. So it answers the login of
an unknown user with 18456 if the firewall admits the node, and otherwise with 40615, which names the client's address.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import ipaddress
import re
import secrets
import socket
import ssl
import struct
import sys
import time
import urllib.request

TYPE_CHECKING = False
if TYPE_CHECKING:  # Python 3.7 to 3.9 must not see these
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    Report: TypeAlias = tuple[str, list[str], list[str]]

ATTEMPTS = 3  # without an answer: the address may have been associated at this moment
PAUSE_SECONDS = 10
LOGGED_IN = 0
NOT_REGISTERED = 40615
# The login failed, or the database does not exist or is paused: the firewall admitted the node.
PASSED = (LOGGED_IN, 4060, 18452, 18456, 18470, 18486, 40613)
REASONS = {
    40532: "Azure does not know a server of that name",
    40914: "the server admits only virtual networks",
    47073: "the server's public network access is disabled",
}
CLIENT = re.compile(r"Client with IP address '([0-9.]+)'")
HEADER, HEADER_BYTES = ">BBHHBB", 8  # type, status, length, and unused fields
RESPONSE, LOGIN7, PRELOGIN = 0x04, 0x10, 0x12
LAST = 0x01
ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, END = 0x01, 0x02, 0xFF
TDS_7_4, PACKET_BYTES, LOGIN_BYTES = 0x74000004, 4096, 94
ERROR, LOGIN_ACKNOWLEDGED = 0xAA, 0xAD
LENGTHS = {0xAA: "<H", 0xAB: "<H", 0xAD: "<H", 0xE3: "<H", 0xEE: "<I"}  # the format of the length of each token


class ProblemError(Exception):
    """What is wrong, in words for the reader of the step's log."""


class NoAnswerError(Exception):
    """There was no answer, or not a valid one."""


class Connection:
    """TDS packets over a socket, and over TLS from :meth:`encrypt` on (MS-TDS 2.2.3, 3.2.5.1)."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.host = host
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.settimeout(timeout)
        self.tls: ssl.SSLObject | None = None
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def send(self, kind: int, data: bytes) -> None:
        """Send one message that fits into a packet."""
        self.write(struct.pack(HEADER, kind, LAST, len(data) + HEADER_BYTES, 0, 1, 0) + data)

    def receive(self) -> bytes:
        """Return the data of one message."""
        data = b""
        while True:
            _, status, length, *_ = struct.unpack(HEADER, self.read(HEADER_BYTES))
            data += self.read(length - HEADER_BYTES)
            if status & LAST:
                return data

    def encrypt(self) -> None:
        """Do the TLS handshake inside PRELOGIN packets, as TDS 7 does; the server's certificate is verified."""
        context = ssl.create_default_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # TDS 7 supports no newer version
        tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=self.host)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                if self.outgoing.pending:
                    self.send(PRELOGIN, self.outgoing.read())
                self.incoming.write(self.receive())
            else:
                break
        self.tls = tls

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self.tls is not None:
            self.tls.write(data)
            data = self.outgoing.read()
        self.socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Receive that many bytes."""
        data = b""
        while len(data) < count:
            more = self.some(count - len(data))
            if not more:
                raise NoAnswerError("the connection was closed without an answer")
            data += more
        return data

    def some(self, most: int) -> bytes:
        """Receive some bytes; none at the end."""
        if self.tls is None:
            return self.socket.recv(most)
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLWantReadError:
                more = self.socket.recv(4096)
                if not more:
                    return b""
                self.incoming.write(more)


def prelogin() -> bytes:
    """Return the PRELOGIN message, which offers encryption (MS-TDS 2.2.6.5)."""
    options = ((0, bytes(6)), (1, bytes((ENCRYPT_ON,))), (2, b"\0"), (3, bytes(4)), (4, b"\0"))
    offset, head, body = 5 * len(options) + 1, b"", b""
    for token, value in options:
        head += struct.pack(">BHH", token, offset + len(body), len(value))
        body += value
    return head + bytes((END,)) + body


def encryption(answer: bytes) -> int:
    """Return the server's encryption option in its answer to PRELOGIN."""
    at = 0
    while answer[at] != END:
        token, offset, _ = struct.unpack_from(">BHH", answer, at)
        if token == 1:
            return int(answer[offset])
        at += 5
    return ENCRYPT_NOT_SUPPORTED


def login(host: str, database: str) -> bytes:
    """Return the LOGIN7 message for a user that does not exist (MS-TDS 2.2.6.4)."""
    node, password = socket.gethostname()[:128], secrets.token_hex(16)
    head, body = b"", b""
    for text in (node, "airflow-eip-probe", password, "egress probe", host, "", "", "", database):
        data = text.encode("utf-16-le")
        if text is password:  # TDS obfuscates it
            data = bytes((byte << 4 | byte >> 4) & 0xFF ^ 0xA5 for byte in data)
        head += struct.pack("<HH", LOGIN_BYTES + len(body), len(text))
        body += data
    length = LOGIN_BYTES + len(body)
    nothing = struct.pack("<HH", length, 0)
    fixed = struct.pack("<IIIIIIBBBBII", length, TDS_7_4, PACKET_BYTES, 0, 0, 0, 0xE0, 0x03, 0, 0, 0, 0)
    return fixed + head + bytes(6) + nothing * 3 + bytes(4) + body


def outcome(answer: bytes) -> tuple[int, str]:
    """
    Return number and text of the first error in a response to a login, or ``LOGGED_IN``.

    :raises NoAnswerError: when it is not such a response.
    """
    at, is_acknowledged = 0, False
    while at < len(answer) and answer[at] in LENGTHS:
        kind = answer[at]
        (length,) = struct.unpack_from(LENGTHS[kind], answer, at + 1)
        start = at + 1 + struct.calcsize(LENGTHS[kind])
        if kind == ERROR:
            number, _, _, count = struct.unpack_from("<iBBH", answer, start)
            return number, answer[start + 8 : start + 8 + 2 * count].decode("utf-16-le")
        is_acknowledged = is_acknowledged or kind == LOGIN_ACKNOWLEDGED
        at = start + length
    if not is_acknowledged:
        raise NoAnswerError("it neither accepts nor refuses a login")
    return LOGGED_IN, "it accepts the login, or redirects it"


def ask_server(server: str, timeout: float) -> tuple[int, str]:
    """
    Try to log in at an Azure SQL server, and return the number and text of its answer.

    :raises OSError, NoAnswerError: when it does not answer.
    """
    host, port, database = parse_server(server)
    connection = Connection(host, port, timeout)
    try:
        connection.send(PRELOGIN, prelogin())
        if encryption(connection.receive()) != ENCRYPT_NOT_SUPPORTED:
            connection.encrypt()
        connection.send(LOGIN7, login(host, database))
        return outcome(connection.receive())
    except (struct.error, IndexError, UnicodeDecodeError):
        raise NoAnswerError("it does not speak TDS") from None
    finally:
        connection.socket.close()


def parse_server(server: str) -> tuple[str, int, str]:
    """Parse HOST[:PORT][/DATABASE]."""
    host_and_port, _, database = server.partition("/")
    host, _, port = host_and_port.partition(":")
    return host, int(port or 1433), database or "master"


def request_address(url: str, timeout: float) -> str:
    """
    Request a page that returns the client's address; without a proxy, as connections to the database use none.

    :raises OSError, NoAnswerError: when it returns none.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        text = answer.read(100).decode("ascii", "replace").strip()
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise NoAnswerError(f"it returns no address: {text!r}") from None


def answered(ask: Callable[[str, float], Any], place: str, timeout: float) -> Any:
    """
    Ask up to three times, and return the answer.

    :raises ProblemError: when there is none, or it is not from the expected server.
    """
    why = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(1)
        try:
            return ask(place, timeout)
        except socket.timeout:  # noqa: UP041 - no TimeoutError before Python 3.10
            why = f"timed out after {timeout:g} s"
        except ssl.SSLError as error:
            raise ProblemError(f"the server that answers for {place} cannot be trusted: {error}") from error
        except (OSError, http.client.HTTPException, NoAnswerError) as error:
            why = str(error) or type(error).__name__
    raise ProblemError(
        f"no connection to {place}: {why}; the subnet needs a route to an internet gateway and the node a public "
        "address, or a route to a NAT gateway, and security groups and network ACLs must allow the connection"
    )


def probe_echo(url: str, address: str, timeout: float) -> str:
    """
    Compare the address that a page returns.

    :raises ProblemError: when it is another address.
    """
    actual = answered(request_address, url, timeout)
    if actual != address:
        raise ProblemError(f"leaves from {actual}, not from {address} (according to {url})")
    return f"leaves from {actual} (according to {url})"


def probe_server(server: str, address: str, timeout: float, wait: float) -> str:
    """
    Try one server until it is clear whether its firewall admits the node.

    :raises ProblemError: when it does not, even after the wait.
    """
    deadline, pause = time.monotonic() + wait, min(PAUSE_SECONDS, wait / 10)
    while True:
        number, text = answered(ask_server, server, timeout)
        if number in PASSED:
            return f"passes the firewall of {server} (it answers {number}: {text})"
        answer = f"{server} answers {number}: {text}"
        if number != NOT_REGISTERED:
            raise ProblemError(f"{answer} ({REASONS.get(number, 'an unexpected answer')})")
        client = CLIENT.search(text)
        if client and client.group(1) != address:
            raise ProblemError(f"leaves from {client.group(1)}, not from {address} ({answer})")
        if time.monotonic() + pause >= deadline:
            raise ProblemError(
                f"{server} does not admit it; register {address} with the server's firewall: new rules take up to five "
                f"minutes, and this probe waited {wait:g} s ({answer})"
            )
        time.sleep(pause)


def probe(options: dict[str, Any]) -> Report:
    """Run the checks on this node; return its name, its findings and its problems."""
    address, timeout, wait = options["expect"], options["timeout"], options["wait"]
    checks = [functools.partial(probe_echo, options["echo"], address, timeout)] if options["echo"] else []
    checks += [functools.partial(probe_server, server, address, timeout, wait) for server in options["servers"]]
    findings, problems = [], []
    for check in checks:
        try:
            findings.append(check())
        except ProblemError as problem:
            problems.append(str(problem))
    return socket.gethostname(), findings, problems


def probe_executors(options: dict[str, Any], count: int) -> list[Report]:
    """Run the checks on each executor: each has one core, and a barrier stage starts all its tasks or none."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - exists only under spark-submit

    spark = SparkSession.builder.appName("egress probe").getOrCreate()
    try:
        tasks = spark.sparkContext.parallelize(range(count), count).barrier()
        return list(tasks.mapPartitions(lambda _: [probe(options)]).collect())
    finally:
        spark.stop()


def parse(arguments: Sequence[str] | None) -> dict[str, Any]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expect", required=True, metavar="IP", help="the Elastic IP")
    parser.add_argument("--server", action="append", default=[], metavar="HOST[:PORT][/DATABASE]", dest="servers")
    parser.add_argument("--echo", metavar="URL", help="a page that returns the client's address")
    parser.add_argument("--wait", type=float, default=330, help="seconds for a new firewall rule")
    parser.add_argument("--timeout", type=float, default=15, help="seconds for one answer")
    parser.add_argument("--executors", type=int, default=0, help="also check from this number of Spark executors")
    return vars(parser.parse_args(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, print the results, and return the exit status."""
    options = parse(arguments)
    count = options.pop("executors")
    reports = [("driver", probe(options))]
    if count:
        reports += [("executor", report) for report in probe_executors(options, count)]
    failed = False
    for role, (node, findings, problems) in reports:
        for line in findings:
            sys.stdout.write(f"{role} {node} {line}\n")
        for line in problems:
            failed = True
            sys.stderr.write(f"egress probe: {role} {node}: {line}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
