"""
What the AWS CLI's own code sends for a command, or says against it; nothing leaves the machine.

Run as a file: for each line with a list of words (JSON) on standard input, one line on standard output. Independent of
``airflow_eip_provider.awscli_import.capture``: the request is taken where botocore would open the connection. With
``--ours`` that module reads the same commands, in the same process.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
CAPTURE = Path(__file__).parents[3] / "airflow_eip_provider/awscli_import/capture.py"


def refuse_network(*_: Any, **__: Any) -> None:
    raise OSError("no network")


def sent(arguments: list[str]) -> dict[str, Any]:
    """Let the AWS CLI carry a command out; answer its request."""
    from awscli.clidriver import create_clidriver  # noqa: PLC0415 - the caller need not have it
    from botocore.awsrequest import AWSResponse  # noqa: PLC0415

    requests: list[dict[str, Any]] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        requests.append(json.loads(request.body))
        raw = io.BytesIO(b'{"JobFlowId": "j-1", "ClusterArn": "arn:aws:elasticmapreduce:::cluster/j-1"}')
        raw.stream = lambda *_, **__: iter([raw.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, 200, {"content-type": "application/x-amz-json-1.1"}, raw)

    driver = create_clidriver()
    driver.session.get_component("event_emitter").register("before-send.emr.RunJobFlow", answer)
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            status = driver.main(arguments)
        except SystemExit as error:
            status = error.code
    return {"status": status, "request": requests[0] if requests else None, "said": said.getvalue()}


def ours(arguments: list[str]) -> dict[str, Any]:
    """Let the module that ``import-cluster`` runs read a command."""
    sys.path.insert(0, str(CAPTURE.parent))
    import capture  # type: ignore[import-not-found]  # noqa: PLC0415

    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            status = capture.main(arguments)
        except SystemExit as error:
            status = error.code
    request = json.loads(printed.getvalue())["request"] if printed.getvalue() else None
    return {"status": status, "request": request, "said": said.getvalue()}


def parse_models_once() -> None:
    """Keep what botocore reads of its models: each command has a session of its own."""
    import awscli.clidriver  # noqa: PLC0415, F401 - it puts its own botocore in place
    from botocore.loaders import JSONFileLoader, Loader  # noqa: PLC0415

    parse = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    JSONFileLoader.load_file = lambda _, path: parse(path)
    services = functools.cache(functools.partial(Loader.list_available_services, Loader()))
    Loader.list_available_services = lambda _, type_name: services(type_name)


class AwsCli:
    """That process, from a test."""

    def __init__(self, directory: Path, *, region: str | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | SETTINGS
        if region:
            environment["AWS_DEFAULT_REGION"] = region
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__], cwd=directory, env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip

    def ask(self, arguments: list[str], *, of: str = "sent") -> dict[str, Any]:
        """Return what becomes of a command's words, without "aws"."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([of, arguments]) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


if __name__ == "__main__":
    socket.getaddrinfo = refuse_network  # type: ignore[assignment]
    parse_models_once()
    commands, answers = sys.stdin, os.fdopen(os.dup(1), "w")
    for line in commands:
        kind, words = json.loads(line)
        print(json.dumps({"sent": sent, "ours": ours}[kind](words)), file=answers, flush=True)
