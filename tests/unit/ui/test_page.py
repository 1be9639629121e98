"""The page as HTML: what comes from a record is text, and nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.ui.page import HEADERS, STATIC, Links, page_facts, render_page, render_refusal, static_file
from airflow_eip_provider.ui.view import page_of
from tests.unit.ui.stories import BUSY, EVERYONE, FREE, NOBODY, SECOND, THIRD, ended, entry, lease, reading, snapshot

LINKS = Links("../", lambda task: f"../dags/{task.dag_id}/runs/x")
EVIL = "<script>alert(1)</script>"
_VOID = {"meta", "link", "br", "line", "hr", "img"}


class Read(HTMLParser):
    """What a browser would see, and whether every element ends."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(*readings, viewer=EVERYONE, **values) -> Read:
    return Read(render_page(page_of(snapshot(*readings, **values), viewer), LINKS))


def test_three_addresses_a_queue_of_five_and_500_leases():
    read = page(reading(BUSY, waits={501: 900.0}), reading(FREE, SECOND), reading(None, THIRD))
    assert [section["id"] for section in read.all("section")] == [
        BUSY and f"eipalloc-0123456789abcdef{k}" for k in "012"
    ]
    text = " ".join(" ".join(read.text).split())
    assert "no task has asked for it yet" in text
    assert "The record keeps only the newest 500 ended leases" in text
    assert len(read.all("details")) == 1
    assert "not started" in text


@pytest.mark.parametrize(
    "name",
    [
        EVIL,
        f"prod/{EVIL}/run/task/-1",
        f"prod/dag/{EVIL}/task/-1",
        "prod/dag/\"onmouseover='alert(1)'/task/-1",
        "prod/\u202edag/run/task/-1",
    ],
)
def test_names_are_escaped_everywhere(name):
    record = Record(
        lease=lease(3, name=name),
        queue=(entry(4, minutes=3, name=name),),
        history=(ended(1, hours_ago=3, name=name, why=EVIL), ended(2, hours_ago=1.5, name=name)),
    )
    read = page(reading(record, waits={2: 60.0}), problems=(EVIL,), lock_store=EVIL)
    assert len(read.all("script")) == 1, "the page's own"
    attributes = {key for _, given in read.elements for key in given}
    assert not {key for key in attributes if key.startswith("on")}
    assert not any("javascript:" in (given.get("href") or "") for given in read.all("a"))


def test_ids_and_places_are_escaped():
    html = render_page(
        page_of(snapshot(reading(None, problem=EVIL, address_problem=EVIL, address=None)), EVERYONE), LINKS
    )
    assert EVIL not in html
    assert html.count("&lt;script&gt;") == 2


def test_nothing_is_loaded_from_other_hosts_and_nothing_is_inline():
    html = render_page(page_of(snapshot(reading(BUSY)), EVERYONE), LINKS)
    read = Read(html)
    assert [given["src"] for given in read.all("script")] == ["page.js"]
    assert [given["href"] for given in read.all("link")] == ["page.css"]
    assert "style=" not in html
    assert not re.search(r"<style|<img|url\(|@import|http-equiv", html)
    for name in STATIC:
        assert b"http" not in static_file(name)
        assert b"url(" not in static_file(name)
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_the_only_absolute_links_lead_to_the_emr_console():
    links = {given["href"] for given in page(reading(BUSY)).all("a")}
    away = {link for link in links if "//" in link}
    assert away
    assert all(link.startswith("https://console.aws.amazon.com/emr/home?region=eu-west-1#") for link in away)
    assert not any(link.startswith("/") for link in links), "Airflow may be below a path"


def test_the_timeline_has_a_label_and_every_bar_has_its_times():
    read = page(reading(BUSY))
    (picture,) = read.all("svg")
    assert picture["role"] == "img"
    assert "the tables have the same content" in picture["aria-label"]
    assert len(read.all("rect")) == html_titles(read)


def html_titles(read: Read) -> int:
    return len(read.all("title")) - 1  # the page's own


def test_every_cell_has_a_label():
    cells = page(reading(BUSY), reading(FREE, SECOND)).all("td")
    assert cells
    assert all(cell.get("data-label") for cell in cells)


def test_a_viewer_without_permissions_finds_no_name_in_the_source():
    shown = page_of(snapshot(reading(BUSY)), NOBODY)
    for text in (render_page(shown, LINKS), json.dumps(page_facts(shown))):
        assert not re.search("holder/|daily_|waits_|other_team", text)
    assert "a DAG that you may not see" in render_page(shown, LINKS)


def test_json_has_the_same_content():
    facts = json.loads(json.dumps(page_facts(page_of(snapshot(reading(BUSY, waits={501: 900.0})), EVERYONE))))
    (address,) = facts["addresses"]
    assert address["holder"]["waited_seconds"] == 900
    assert [waiter["place"] for waiter in address["queue"]] == [1, 2, 3, 4, 5]
    assert address["history"][0]["why"].startswith("taken over")
    assert 0 < address["figures"]["usage"]["idle_share"] < 1


@pytest.mark.parametrize(("status", "says"), [(401, "not logged in"), (403, "may not see this page")])
def test_a_refused_viewer_sees_the_reason(status, says):
    html = render_refusal(status=status, login="../login?next=%2Felastic-ips%2F", home="../")
    assert says in html
    assert ("page.js" in html) == (status == 401), "Airflow 3.0 keeps its token where only a script finds it"
    Read(html)


def test_periods_are_links_and_the_current_one_is_marked():
    read = page(reading(FREE))
    marked = [given["href"] for given in read.all("a") if given.get("aria-current")]
    assert marked == ["?period=7d"]


def test_a_queue_shows_that_an_owner_waits_for_several_addresses():
    record = replace(FREE, lease=lease(9), queue=(entry(10, minutes=3),))
    readings = [reading(record, name) for name in (SECOND, THIRD)]
    text = " ".join(" ".join(page(*readings).text).split())
    assert text.count("waits for 2 addresses") == 2
    assert "Waiting owners, each counted once: 1." in text
    assert "waiting for any one of several addresses: 1." in text
    facts = page_facts(page_of(snapshot(*readings), EVERYONE))
    assert facts["waiting"] == 1
    assert [address["queue"][0]["addresses"] for address in facts["addresses"]] == [2, 2]


def test_without_such_an_owner_there_is_no_such_note():
    text = " ".join(page(reading(BUSY), reading(FREE, SECOND)).text)
    assert not re.search(r"waits for \d", text)
    assert "counted once" not in text
