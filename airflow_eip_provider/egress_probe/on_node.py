"""
Shows from which address a node leaves, and whether Azure SQL servers admit it; the first step of an EMR cluster.

It runs on every EMR node as it is: Python 3.7 or newer and the standard library; with ``--executors`` under
spark-submit. It holds no credential: Azure SQL asks the firewall first and the login second, so a login that nobody has
is answered with 18456 where the firewall lets it in, and with 40615, which names the address that Azure sees, where it
does not.
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

ATTEMPTS = 3  # for what gives no answer: the address may have come this very moment
PAUSE_SECONDS = 10
LOGGED_IN = 0
NOT_REGISTERED = 40615
# The login is no good, or the database is not there or not awake: the firewall was passed.
PASSED = (LOGGED_IN, 4060, 18452, 18456, 18470, 18486, 40613)
REASONS = {
    40532: "Azure knows no server of that name",
    40914: "the server admits virtual networks only",
    47073: "the server's public network access is disabled",
}
CLIENT = re.compile(r"Client with IP address '([0-9.]+)'")
HEADER, HEADER_BYTES = ">BBHHBB", 8  # type, status, length, and what nobody here needs
RESPONSE, LOGIN7, PRELOGIN = 0x04, 0x10, 0x12
LAST = 0x01
ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, END = 0x01, 0x02, 0xFF
TDS_7_4, PACKET_BYTES, LOGIN_BYTES = 0x74000004, 4096, 94
ERROR, LOGIN_ACKNOWLEDGED = 0xAA, 0xAD
LENGTHS = {0xAA: "<H", 0xAB: "<H", 0xAD: "<H", 0xE3: "<H", 0xEE: "<I"}  # tokens by the form of their length


class ProblemError(Exception):
    """What is wrong, in words for whoever reads the step's log."""


class NoAnswerError(Exception):
    """Nothing came back, or nothing that makes sense."""


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
        """Shake hands inside PRELOGIN packets, as TDS 7 does; the certificate must be the server's."""
        context = ssl.create_default_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # TDS 7 knows no newer one
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
    """Offer encryption (MS-TDS 2.2.6.5)."""
    options = ((0, bytes(6)), (1, bytes((ENCRYPT_ON,))), (2, b"\0"), (3, bytes(4)), (4, b"\0"))
    offset, head, body = 5 * len(options) + 1, b"", b""
    for token, value in options:
        head += struct.pack(">BHH", token, offset + len(body), len(value))
        body += value
    return head + bytes((END,)) + body


def encryption(answer: bytes) -> int:
    """Read from the answer to PRELOGIN what the server says about encryption."""
    at = 0
    while answer[at] != END:
        token, offset, _ = struct.unpack_from(">BHH", answer, at)
        if token == 1:
            return int(answer[offset])
        at += 5
    return ENCRYPT_NOT_SUPPORTED


def login(host: str, database: str) -> bytes:
    """Ask for a login that nobody has (MS-TDS 2.2.6.4)."""
    node, password = socket.gethostname()[:128], secrets.token_hex(16)
    head, body = b"", b""
    for text in (node, "airflow-eip-probe", password, "egress probe", host, "", "", "", database):
        data = text.encode("utf-16-le")
        if text is password:  # how TDS writes one
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

    :raises NoAnswerError: when it is no such response.
    """
    at, welcome = 0, False
    while at < len(answer) and answer[at] in LENGTHS:
        kind = answer[at]
        (length,) = struct.unpack_from(LENGTHS[kind], answer, at + 1)
        start = at + 1 + struct.calcsize(LENGTHS[kind])
        if kind == ERROR:
            number, _, _, count = struct.unpack_from("<iBBH", answer, start)
            return number, answer[start + 8 : start + 8 + 2 * count].decode("utf-16-le")
        welcome = welcome or kind == LOGIN_ACKNOWLEDGED
        at = start + length
    if not welcome:
        raise NoAnswerError("it answers neither yes nor no to a login")
    return LOGGED_IN, "it takes the login, or sends it on"


def ask_server(server: str, timeout: float) -> tuple[int, str]:
    """
    Knock at an Azure SQL server, and return the number and text of its answer.

    :raises OSError, NoAnswerError: when it gives none.
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
    """Read HOST[:PORT][/DATABASE]."""
    place, _, database = server.partition("/")
    host, _, port = place.partition(":")
    return host, int(port or 1433), database or "master"


def seen_by(url: str, timeout: float) -> str:
    """
    Ask a page that says which address it sees; past any proxy, for the database is reached past it too.

    :raises OSError, NoAnswerError: when it says none.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        seen = answer.read(100).decode("ascii", "replace").strip()
    try:
        return str(ipaddress.IPv4Address(seen))
    except ValueError:
        raise NoAnswerError(f"it names no address: {seen!r}") from None


def answered(ask: Callable[[str, float], Any], place: str, timeout: float) -> Any:
    """
    Ask up to three times, and return the answer.

    :raises ProblemError: when there is none, or one of somebody else.
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
            raise ProblemError(f"whoever answers for {place} is not to be trusted: {error}") from error
        except (OSError, http.client.HTTPException, NoAnswerError) as error:
            why = str(error) or type(error).__name__
    raise ProblemError(
        f"no way out to {place}: {why}; the subnet needs a route to an internet gateway and the node a public address, "
        "or else a route to a NAT gateway, and security groups and network ACLs must let the connection out"
    )


def probe_echo(url: str, address: str, timeout: float) -> str:
    """
    Compare the address that a page sees.

    :raises ProblemError: when it is another one.
    """
    seen = answered(seen_by, url, timeout)
    if seen != address:
        raise ProblemError(f"leaves from {seen}, not from {address} ({url} says so)")
    return f"leaves from {seen} ({url} says so)"


def probe_server(server: str, address: str, timeout: float, wait: float) -> str:
    """
    Knock at one server until it is clear whether its firewall admits the node.

    :raises ProblemError: when it does not, also after the wait.
    """
    deadline, pause = time.monotonic() + wait, min(PAUSE_SECONDS, wait / 10)
    while True:
        number, text = answered(ask_server, server, timeout)
        if number in PASSED:
            return f"passes the firewall of {server} (it answers {number}: {text})"
        said = f"{server} answers {number}: {text}"
        if number != NOT_REGISTERED:
            raise ProblemError(f"{said} ({REASONS.get(number, 'nothing that a probe expects')})")
        client = CLIENT.search(text)
        if client and client.group(1) != address:
            raise ProblemError(f"leaves from {client.group(1)}, not from {address} ({said})")
        if time.monotonic() + pause >= deadline:
            raise ProblemError(
                f"{server} does not admit it; register {address} with the server's firewall: new rules take up to five "
                f"minutes, and this probe waited {wait:g} s ({said})"
            )
        time.sleep(pause)


def probe(options: dict[str, Any]) -> Report:
    """Look from this node; return its name, its findings and its problems."""
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
    """Look from each of so many executors: each has one core, and a barrier stage starts all its tasks or none."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - there under spark-submit only

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
    parser.add_argument("--echo", metavar="URL", help="a page that says which address it sees")
    parser.add_argument("--wait", type=float, default=330, help="seconds for a new firewall rule")
    parser.add_argument("--timeout", type=float, default=15, help="seconds for one answer")
    parser.add_argument("--executors", type=int, default=0, help="look from so many Spark executors as well")
    return vars(parser.parse_args(arguments))


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, say what was found, and return the exit status."""
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
