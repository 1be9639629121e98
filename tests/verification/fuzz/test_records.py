"""Generated files and records: each is read completely and correctly, or refused with an error of the provider."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from airflow_eip_provider.exceptions import LockStoreError, UsageError
from airflow_eip_provider.lease.codec import encode
from airflow_eip_provider.lease.record import FIRST_GRACE, PossibleOrphan, Record
from airflow_eip_provider.parameters_file import read_parameters
from airflow_eip_provider.stores.records import from_text, to_text
from tests.unit.lease.records import FULL, records
from tests.verification.fuzz.test_overrides import VALUES, mutated

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = {
    "allocationID": "eipalloc-0123456789abcdef0",
    "clusterVPCID": "vpc-0123456789abcdef0",
    "clusterFunctionTagValue": "daily",
}
FULL_RECORD = json.loads(json.dumps(encode(FULL)))


@st.composite
def damaged(draw: st.DrawFn, text: st.SearchStrategy[str]) -> bytes:
    """Cut a text, insert bytes, or encode it differently."""
    whole = draw(text)
    data = whole.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"])), "surrogatepass")
    at = draw(st.integers(0, len(data)))
    return draw(st.sampled_from([data, data, data[:at], data[:at] + draw(st.binary(max_size=3)) + data[at:]]))


def as_json(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return values.map(json.dumps) | values.map(lambda value: json.dumps(value, ensure_ascii=False))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parameters") / "parametersValues.json"


@given(data=damaged(as_json(mutated(PARAMETERS) | VALUES)))
@example(data=b"[" * 100_000)
@example(data=b'{"allocationID": "eipalloc-01234567", "clusterVPCID": "vpc-01234567", "allocationID": "x"}')
@example(data=b"")
@settings(deadline=None)
def test_parameters_are_those_of_the_file_or_an_error(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    try:
        found = read_parameters(file)
    except UsageError as error:
        event("refused")
        assert str(file) in str(error)  # noqa: PT017 - other inputs raise nothing
        return
    event("read")
    values = json.loads(data.decode("utf-8-sig"))
    assert (found.allocation_id, found.vpc_id) == (values["allocationID"], values["clusterVPCID"])
    assert re.fullmatch(r"eipalloc-([0-9a-f]{8}|[0-9a-f]{17})", found.allocation_id)
    assert values.keys() <= PARAMETERS.keys()


@given(data=damaged(as_json(mutated(FULL_RECORD) | VALUES)))
@example(data=b"[" * 100_000)
@example(data=json.dumps(FULL_RECORD).encode())
@example(data=json.dumps({**encode(Record(grace=FIRST_GRACE)), "schema": 2}).encode())
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_record_is_read_completely_or_not_at_all(data: bytes) -> None:
    try:
        record = from_text(data, where="s3://b/k.json")
    except LockStoreError as error:
        event(type(error).__name__)
        assert "s3://b/k.json" in str(error)  # noqa: PT017 - other inputs raise nothing
        return
    event("read")
    assert from_text(to_text(record), where="s3://b/k.json") == record
    written, source = json.loads(to_text(record)), json.loads(data)
    # A record is written in the oldest schema that has all its fields.
    assert written.pop("schema") <= source.pop("schema")
    assert written == source


ORPHAN = PossibleOrphan(0, "", "", None, until=0.0, since=1.0)


@given(record=records, nonce=st.text(max_size=5))
@example(record=Record(possible_orphans=(ORPHAN,), grace=FIRST_GRACE), nonce="")
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_record_is_read_as_it_was_written_with_other_stored_values(record: Any, nonce: str) -> None:
    stored = to_text(record, nonce=nonce)
    found = from_text(stored, where="s3://b/k.json", beside=("nonce",))
    assert to_text(found, nonce=nonce) == stored
    # With the grace of 0.1.0 a record leaves out a field that 0.1.0 cannot read: since when clusters may exist.
    assert found == record or record.grace == FIRST_GRACE
