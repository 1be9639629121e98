from __future__ import annotations

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.aws.lag import SECOND_LOOK_SECONDS, until_shown


@pytest.mark.parametrize("seconds", [0, 12])
def test_one_read_does_not_decide_even_if_it_takes_long(monkeypatch, seconds):
    """botocore's retries of a throttled read may take longer than the time within which it is repeated."""
    now, answers = [1000.0], [None, "shown"]

    def wait(seconds: float) -> None:
        now[0] += seconds

    def read() -> str | None:
        wait(seconds)
        return answers.pop(0)

    monkeypatch.setattr(clock, "time", lambda: now[0])
    assert until_shown(read, within=SECOND_LOOK_SECONDS, pause=wait) == "shown"
