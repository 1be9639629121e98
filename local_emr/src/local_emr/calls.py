"""Parses API calls and formats error responses."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from local_emr.errors import AwsError

Environ = dict[str, Any]
SECRET = re.compile(r"secret(string|binary)|password", re.IGNORECASE)
_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_CODE = re.compile(rb"<Code>([^<]+)</Code>")
_S3_OPERATIONS = {
    ("PUT", True): "PutObject",
    ("GET", True): "GetObject",
    ("HEAD", True): "HeadObject",
    ("DELETE", True): "DeleteObject",
    ("PUT", False): "CreateBucket",
    ("GET", False): "ListObjects",
    ("HEAD", False): "HeadBucket",
    ("DELETE", False): "DeleteBucket",
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One API call.

    :param protocol: ``json``, ``ec2``, ``query`` or ``rest``: the service's protocol.
    :param access_key_id: The caller's key; the signature is not checked.
    :param params: The parameters, by AWS's names; EC2's lists are flat, as on the wire (``InstanceId.1``).
    """

    service: str
    region: str
    operation: str
    protocol: str
    params: dict[str, Any] = field(default_factory=dict)
    access_key_id: str = ""

    def request_for_log(self) -> dict[str, Any]:
        """Return the parameters without secrets."""
        return {name: "***" if SECRET.search(name) else value for name, value in self.params.items()}


def read_body(environ: Environ) -> bytes:
    """Read the request's whole body, and keep it readable for the handler.

    A body is read before any lock is taken, so that a slow client does not block others.
    """
    if environ.get("wsgi.input_terminated"):
        body: bytes = environ["wsgi.input"].read()
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(body))
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return body


def parse_call(environ: Environ, body: bytes) -> Call:
    """Return the service, the operation and the parameters of a request."""
    credential = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "") + environ.get("QUERY_STRING", ""))
    caller, region, service = credential.groups() if credential else ("", "unknown", "unknown")
    make = functools.partial(Call, service=service, region=region, access_key_id=caller)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        params = json.loads(body) if body else {}
        return make(operation=target.split(".")[-1], protocol="json", params=params)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form: dict[str, Any] = dict(parse_qsl(body.decode(), keep_blank_values=True))
        operation = form.pop("Action", "")
        form.pop("Version", None)
        protocol = "ec2" if service == "ec2" else "query"
        return make(operation=operation, protocol=protocol, params=_typed(form))
    operation, params = _rest_operation(service, environ)
    return make(operation=operation, protocol="rest", params=params)


def error_response(call: Call, error: AwsError) -> Response:
    """Return an error in the service's format."""
    code, message = escape(error.code), escape(error.message)
    if call.protocol == "json":
        body = json.dumps({"__type": error.code, "message": error.message, "Message": error.message})
        return Response(body, status=error.status, content_type="application/x-amz-json-1.1")
    detail = f"<Code>{code}</Code><Message>{message}</Message>"
    if call.protocol == "ec2":
        detail = f"<Response><Errors><Error>{detail}</Error></Errors><RequestID>{uuid4()}</RequestID></Response>"
    elif call.protocol == "query":
        detail = f"<ErrorResponse><Error>{detail}</Error><RequestId>{uuid4()}</RequestId></ErrorResponse>"
    else:
        detail = f"<Error>{detail}<RequestId>{uuid4()}</RequestId></Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>{detail}'
    return Response(body, status=error.status, content_type="text/xml")


def error_code_of(response: Response) -> str | None:
    """Return the error code of an error response of moto's."""
    if response.status_code < 400:  # noqa: PLR2004 - HTTP's first error status
        return None
    body = response.get_data()
    if found := _CODE.search(body):
        return found[1].decode()
    try:
        return str(json.loads(body)["__type"]).rsplit("#", maxsplit=1)[-1]
    except (ValueError, KeyError, TypeError):
        return str(response.status_code)


def _typed(form: dict[str, Any]) -> dict[str, Any]:
    """Convert a form's flags to booleans; nested structures are unchanged."""
    flags = {"true": True, "false": False}
    return {name: value if "." in name else flags.get(value, value) for name, value in form.items()}


def _rest_operation(service: str, environ: Environ) -> tuple[str, dict[str, Any]]:
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
    if service != "s3":
        return f"{method} {path}", {}
    bucket, _, key = path.lstrip("/").partition("/")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    params = {name: value for name, value in (("Bucket", bucket), ("Key", key)) if value}
    for header in ("IF_MATCH", "IF_NONE_MATCH"):
        if f"HTTP_{header}" in environ:
            params[header.title().replace("_", "")] = environ[f"HTTP_{header}"]
    if not bucket:
        return "ListBuckets", params
    return _s3_operation(method, has_key=bool(key), query=query, environ=environ), params


def _s3_operation(method: str, *, has_key: bool, query: dict[str, str], environ: Environ) -> str:
    if query.get("list-type") == "2":
        return "ListObjectsV2"
    if "uploads" in query:
        return "CreateMultipartUpload" if method == "POST" else "ListMultipartUploads"
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload"}.get(method, f"{method} multipart upload")
    if "delete" in query:
        return "DeleteObjects"
    if method == "PUT" and "HTTP_X_AMZ_COPY_SOURCE" in environ:
        return "CopyObject"
    return _S3_OPERATIONS.get((method, has_key), f"{method} {'object' if has_key else 'bucket'}")
