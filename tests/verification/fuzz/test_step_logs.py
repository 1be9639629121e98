"""Generated step logs, compared with what the standard library reads from them."""

from __future__ import annotations

import gzip

from hypothesis import event, given
from hypothesis import strategies as st

from airflow_eip_provider.aws.step_logs import StepLogs
from airflow_eip_provider.hooks.step_logs import StepLogHook
from tests.verification.fuzz.objects import S3, damaged, whole

LOGS = StepLogs("logs", "j-1/steps/s-1/")
CONTENT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\n\r"), max_size=200)
SHOWN = 5


def tail(**bodies: bytes) -> dict[str, list[str]]:
    hook = StepLogHook(aws_conn_id=None)
    vars(hook)["conn"] = S3({LOGS.key(stream): body for stream, body in bodies.items()})
    return dict(hook.tail(LOGS, lines=SHOWN))


def lines_of(content: bytes) -> list[str]:
    """Return the last lines of a text, without line endings of Windows."""
    found = content.decode("utf-8-sig", errors="replace").split("\n")
    if found[-1] == "":
        found.pop()
    return [line.removesuffix("\r") for line in found][-SHOWN:]


@given(st.data(), CONTENT)
def test_readable_lines_are_shown_and_damage_is_reported(data: st.DataObject, text: str) -> None:
    body = data.draw(damaged(gzip.compress(text.encode(), mtime=0)))
    shown = tail(stdout=body, stderr=gzip.compress(b""), controller=gzip.compress(b"")).get("stdout", [])
    reported = bool(shown) and "cannot be read to its end" in shown[-1]
    event(f"whole: {whole(body)}, reported: {reported}")
    if body[:2] != b"\x1f\x8b" and len(body) > 1:
        assert shown == lines_of(body)
    elif whole(body):
        assert not reported
        assert shown == lines_of(gzip.decompress(body))
    else:
        assert reported


@given(st.dictionaries(st.sampled_from(["stdout", "stderr", "controller"]), st.binary(max_size=60)))
def test_the_controller_log_is_shown_only_without_others(bodies: dict[str, bytes]) -> None:
    shown = tail(**bodies)
    readable = {name for name in shown if any("cannot be read to its end" not in line for line in shown[name])}
    if readable & {"stdout", "stderr"}:
        assert "controller" not in shown
