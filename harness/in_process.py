"""
Lets boto3 call a local EMR in the same process as a function, without a socket and without a thread.

The request is botocore's own, signed and serialized. It is answered by the application that the server serves, so a
test gets the same answers as over HTTP. Two kinds of call still use HTTP: all calls while a fault of connections is
planned, and calls that are not signed (instance metadata).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import SplitResult, unquote, urlsplit

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPHeaderDict, HTTPResponse
from werkzeug.exceptions import InternalServerError
from werkzeug.http import http_date
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.awsrequest import AWSPreparedRequest

    from local_emr import LocalAws


@contextmanager
def answered_in_process(aws: LocalAws) -> Iterator[None]:
    """Let the boto3 clients of all threads of this process call a local EMR without a socket."""
    endpoint = aws.endpoint_url.removeprefix("http://")
    send_over_http = URLLib3Session.send

    def send(session: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        url = urlsplit(request.url)
        is_signed = "Authorization" in request.headers
        if url.netloc != endpoint or not is_signed or aws.faults.concern_connections:
            answer: AWSResponse = send_over_http(session, request)
            return answer
        return _answer(aws, request, url)

    with patch.object(URLLib3Session, "send", send):
        yield


def _answer(aws: LocalAws, request: AWSPreparedRequest, url: SplitResult) -> AWSResponse:
    environ = _environ(request, url)
    try:
        chunks, status, headers = run_wsgi_app(aws.application, environ, buffered=True)
    except Exception:  # as the server does
        chunks, status, headers = run_wsgi_app(InternalServerError(), environ, buffered=True)
    headers["Date"] = http_date(aws.clock.now())
    raw = HTTPResponse(
        BytesIO(b"".join(chunks)),
        headers=HTTPHeaderDict(headers.to_wsgi_list()),
        status=int(status.split(maxsplit=1)[0]),
        preload_content=False,
        decode_content=False,
        request_method=request.method,
    )
    response = AWSResponse(request.url, raw.status, raw.headers, raw)
    if not request.stream_output:
        _ = response.content  # reads the body, as botocore does here
    return response


def _environ(request: AWSPreparedRequest, url: SplitResult) -> dict[str, Any]:
    """Return the WSGI environment of a request, as the server makes it (PEP 3333)."""
    body = _read(request.body)
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _as_wsgi(unquote(url.path) or "/"),
        "QUERY_STRING": _as_wsgi(url.query),
        "RAW_URI": _as_wsgi(url.path or "/"),
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": url.netloc,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = text
    if environ.pop("HTTP_TRANSFER_ENCODING", None):  # the body is complete here
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def _read(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    read: bytes = body.read() if hasattr(body, "read") else body or b""
    return read


def _as_wsgi(text: str) -> str:
    return text.encode().decode("latin-1")
