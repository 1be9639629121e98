"""The reference, the dashboard and the filters name the metrics of the code, all of them and no others."""

from __future__ import annotations

import json
import re

from airflow_eip_provider.metrics import METRICS, PHASES, QUEUE_LENGTH, TAGS
from tests.unit.docs.pages import ROOT

REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
MONITOR = (ROOT / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "elastic-ips.json").read_text(encoding="utf-8"))
NAMES = {metric.name for metric in METRICS}


def test_each_metric_is_one_constant_of_the_module():
    assert len(NAMES) == len(METRICS)
    assert all(re.fullmatch(r"eip(\.[a-z]+)+", name) for name in NAMES)


def test_the_reference_lists_every_metric_with_its_kind_and_tags():
    rows = re.findall(r"^\| `(eip\.[a-z.]+)` \| (\w+) \| (\w+) \| (.*?) \| (.+?) \| (.+?) \|$", REFERENCE, re.MULTILINE)
    assert [(name, kind) for name, kind, *_ in rows] == [(metric.name, metric.kind) for metric in METRICS]
    for name, _, unit, tags, *_ in rows:
        expected = set(TAGS) - ({"dag_id"} if name == QUEUE_LENGTH.name else set())
        assert set(re.findall(r"`(\w+)`", tags)) == expected
        assert (unit == "seconds") is name.endswith(".seconds")


def test_the_dashboard_shows_every_metric_and_names_no_other():
    said = {re.match(r"eip\.[a-z.]+(?=:)", panel["description"])[0] for panel in DASHBOARD["panels"]}
    assert said == NAMES
    for panel in DASHBOARD["panels"]:
        name = panel["description"].partition(":")[0]
        asked = {found for target in panel["targets"] for found in re.findall(r"airflow_(\w+)", target["expr"])}
        assert asked == {name.replace(".", "_")}
        labels = {label for target in panel["targets"] for label in re.findall(r"[{,] ?(\w+)=", target["expr"])}
        assert labels <= {*TAGS, "quantile"}


def test_the_filters_for_cloudwatch_are_of_metrics_that_there_are():
    filters = re.findall(r"--filter-name (\S+) --filter-pattern '(.*?)' .*?metricName=([\w.]+)", MONITOR)
    assert len(filters) == 4
    for name, pattern, metric in filters:
        assert {name, metric} == {name} <= NAMES
        assert name in pattern


def test_every_metric_that_a_page_names_exists():
    spans = {metric.name.removesuffix(".seconds") for metric in PHASES}
    assert set(re.findall(r"\beip\.(?:[a-z]+\.)*[a-z]+(?=`| \d)", MONITOR)) <= NAMES | spans
    assert spans <= set(re.findall(r"`(eip\.[a-z]+)`", MONITOR))
