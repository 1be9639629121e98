"""The page about a zone without capacity has every code of the provider's tables, with what happens on it."""

from __future__ import annotations

import re

import pytest

from airflow_eip_provider.aws import start_failures
from tests.unit.docs.pages import ROOT

PAGE = (ROOT / "docs" / "how-to" / "no-capacity.md").read_text(encoding="utf-8")
TABLES = {
    "code in ErrorDetails": start_failures.ERROR_DETAILS,
    "code of StateChangeReason": start_failures.STATE_CHANGES,
    "code of the refusal": start_failures.REFUSALS,
}


@pytest.mark.parametrize("header", TABLES)
def test_the_tables_of_codes_are_the_providers(header):
    table = PAGE.split(f"| {header} |", 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|$", table, re.MULTILINE)
    assert rows == list(TABLES[header].items())


def test_what_the_provider_itself_calls_an_outcome_is_named():
    for code in (start_failures.START_TIMEOUT, start_failures.PRIMARY_LOST):
        assert f"outcome `{code}`" in PAGE
