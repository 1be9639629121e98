"""``parametersValues.json``, good and bad."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.exceptions import UsageError
from airflow_eip_provider.parameters_file import Parameters, read_parameters

if TYPE_CHECKING:
    from pathlib import Path

ALLOCATION, VPC = "eipalloc-0123456789abcdef0", "vpc-0123456789abcdef0"
GOOD = {"clusterFunctionTagValue": "Signals", "clusterVPCID": VPC, "allocationID": ALLOCATION}


def written(directory: Path, values: Any) -> Path:
    path = directory / "parametersValues.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def without(key: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name != key}


def test_all_three_are_read(tmp_path: Path) -> None:
    assert read_parameters(written(tmp_path, GOOD)) == Parameters(ALLOCATION, VPC, "Signals")


def test_tag_is_optional_and_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + json.dumps(without("clusterFunctionTagValue"))
    assert read_parameters(written(tmp_path, text)) == Parameters(ALLOCATION, VPC, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("{'allocationID': 1}", "it is not JSON"),
        ("", "it is not JSON"),
        ([GOOD], "it is a list, not an object with the key allocationID"),
        (without("allocationID"), "key 'allocationID' is missing"),
        (without("clusterVPCID"), "key 'clusterVPCID' is missing"),
        ({**GOOD, "allocationId": ALLOCATION}, "unknown key 'allocationId'"),
        ({**GOOD, "allocationID": 7}, "key 'allocationID' is a number, not a string"),
        ({**GOOD, "allocationID": None}, "key 'allocationID' is null, not a string"),
        ({**GOOD, "clusterVPCID": [VPC]}, "key 'clusterVPCID' is a list, not a string"),
        ({**GOOD, "clusterFunctionTagValue": True}, "key 'clusterFunctionTagValue' is a boolean, not a string"),
        ({**GOOD, "clusterFunctionTagValue": ""}, "key 'clusterFunctionTagValue' is ''"),
        ({**GOOD, "allocationID": "203.0.113.7"}, "key 'allocationID' is '203.0.113.7'"),
        ({**GOOD, "allocationID": "eipalloc-..."}, "key 'allocationID' is 'eipalloc-...'"),
        ({**GOOD, "clusterVPCID": "subnet-0123456789abcdef0"}, "key 'clusterVPCID' is 'subnet-"),
        (f'{{"allocationID": "{ALLOCATION}", "allocationID": "{ALLOCATION}"}}', "key 'allocationID' occurs 2 times"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(values: Any, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, values)
    with pytest.raises(UsageError) as refusal:
        read_parameters(path)
    assert f"reading parameters file '{path}': {said}" in str(refusal.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json': it cannot be read: No such file"):
        read_parameters(tmp_path / "none.json")


def test_file_in_s3_is_named_as_given_and_how_to_fetch_it() -> None:
    said = "reading parameters file 's3://b/p.json': it is in S3; download it first: aws s3 cp s3://b/p.json ."
    with pytest.raises(UsageError, match=re.escape(said)):
        read_parameters("s3://b/p.json")
