"""The flow log that the page has people make is one that the audit reads."""

from __future__ import annotations

import gzip
import re
import shlex
from pathlib import Path
from typing import Any

from airflow_eip_provider.audit.flow_logs import FlowLogs, Period

PAGE = Path(__file__).resolve().parents[3] / "docs" / "audit.md"


def test_the_format_on_the_page_is_read(s3: Any) -> None:
    (command,) = re.findall(r"aws ec2 create-flow-logs.*?(?=\n```)", PAGE.read_text(), flags=re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    given = dict(zip(words[3::2], words[4::2], strict=True))
    options = dict(option.split("=") for option in given["--destination-options"].split(","))
    assert options["FileFormat"] == "plain-text"

    fields = re.findall(r"\$\{([\w-]+)\}", given["--log-format"])
    known = {
        "interface-id": "eni-1",
        "instance-id": "i-1",
        "pkt-srcaddr": "172.31.0.9",
        "pkt-dstaddr": "203.0.113.10",
        "dstport": "1433",
        "tcp-flags": "2",
        "action": "ACCEPT",
        "start": "1790000000",
        "end": "1790000059",
        "log-status": "OK",
    }
    assert known.keys() <= set(fields)
    text = " ".join(fields) + "\n" + " ".join(known.get(name, "0") for name in fields) + "\n"
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    key = "prefix/AWSLogs/1/vpcflowlogs/eu-west-1/2026/09/21/14/1_vpcflowlogs_eu-west-1_fl-1_20260921T1415Z_a.log.gz"
    s3.put_object(Bucket="bucket", Key=key, Body=gzip.compress(text.encode()))
    logs = FlowLogs("s3://bucket/prefix", account="1", region="eu-west-1", client=s3)
    (flow,) = logs.flows(Period(1789999999, 1790000100))
    assert (flow.interface_id, flow.instance_id, flow.port, flow.opened) == ("eni-1", "i-1", 1433, True)
