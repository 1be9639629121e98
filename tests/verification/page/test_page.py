"""
The page "Elastic IPs" in real Airflows, with HTTP clients and in Chromium.

The tests run on the Airflow of this environment, and on those of the folder PAGE_VENVS, whose environments 2.11.2 and
3.0.6 have the packages of Amazon MWAA (tests/verification/mwaa/image.py makes them) and the provider. Screenshots are
written into the folder PAGE_SHOTS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_eip_provider.lease.record import Phase, Record
from airflow_eip_provider.ui.names import HIDDEN
from harness.processes import Children
from tests.unit.ui.stories import FREE, NOW, lease
from tests.verification.page.browser import browser, program
from tests.verification.page.environment import EVIL, PASSWORD, VENVS, MotoAws, Site, shift_times, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.verification.page.browser import Browser

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
OWN = "this environment's"


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    made = MotoAws()
    yield made
    made.stop()


@pytest.fixture(scope="module", params=[OWN, "3.0.6", "2.11.2"])
def site(request: pytest.FixtureRequest, aws: MotoAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    venv = Path(sys.prefix) if request.param == OWN else VENVS / request.param
    if not (venv / "bin" / "python").exists():
        pytest.skip(f"there is no Airflow {request.param} in {VENVS}; PAGE_VENVS names another folder")
    state = tmp_path_factory.mktemp("airflow")
    children = Children(directory=state)
    try:
        # The web server of Airflow 2 is below a path only if its base URL has one.
        yield start(children, venv=venv, state=state, path="/team/airflow" if request.param == OWN else "", aws=aws)
    finally:
        children.stop()


@pytest.fixture(autouse=True)
def filled(aws: MotoAws) -> None:
    aws.is_down = False
    aws.fill()


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Browser]:
    if program() is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with browser(tmp_path / "profile") as made:
        yield made


@contextlib.contextmanager
def client(site: Site, user: str | None = None) -> Iterator[httpx.Client]:
    """Return a client that is logged in as a user, or not logged in."""
    with httpx.Client(trust_env=False, timeout=60, follow_redirects=False) as made:
        if user is not None and site.version >= (3,):
            made.headers["Authorization"] = f"Bearer {site.token(user)}"
        elif user is not None:
            form = made.get(f"{site.url}/login/")
            (token,) = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
            asked = {"username": user, "password": PASSWORD, "csrf_token": token}
            assert made.post(f"{site.url}/login/", data=asked).status_code == 302
        yield made


def of_the_page(problems: list[str]) -> list[str]:
    """Omit problems of Airflow's own pages, and the 401 that Airflow < 3.1 answers before there is a token."""
    return [problem for problem in problems if "/elastic-ips/" in problem and "401" not in problem]


def log_in(site: Site, tab: Browser, user: str = "admin") -> None:
    """Log in with the form, as a user does."""
    tab.open(f"{site.url}/" if site.version >= (3,) else f"{site.url}/login/")
    tab.type_into("input[name=username]", user)
    tab.type_into("input[name=password]", PASSWORD)
    tab.press_enter()
    tab.until("!location.pathname.includes('login') && document.readyState === 'complete'")
    if site.version[:2] == (3, 0):  # its UI moves the token from a cookie to the local storage
        tab.until("localStorage.getItem('token') !== null")


def wait_for(get: Any, *what: str) -> str:
    """Get the page until it contains texts; it caches records for five seconds, even those of another test."""
    deadline = time.monotonic() + 40
    while True:
        text = str(get().text)
        if all(each in text for each in what) or time.monotonic() > deadline:
            return text
        time.sleep(1)


def test_without_a_login_nothing_is_shown(site):
    with client(site) as anyone:
        for path in ("", "?period=24h", "data.json"):
            answer = anyone.get(site.page + path)
            assert answer.status_code == 401
            assert "holder" not in answer.text
            assert "203.0.113" not in answer.text
        assert anyone.get(f"{site.page}page.css").status_code == 200
        assert anyone.get(f"{site.page}../elastic-ips/plugin.py").status_code == 404
        if site.version >= (3,):
            wrong = {"Authorization": "Bearer wrong"}
            assert anyone.get(site.page, headers=wrong).status_code in {401, 403}
            assert anyone.get(site.page, cookies={"_token": "wrong"}).status_code in {401, 403}


def test_a_user_sees_three_addresses_a_queue_and_the_history(site, aws):
    with client(site, "admin") as admin:
        text = wait_for(lambda: admin.get(f"{site.page}?period=30d"), "waits_502", "document.title")
        facts = admin.get(f"{site.page}data.json?period=30d").json()
    by_ip = {address["public_ip"]: address for address in facts["addresses"]}
    assert set(by_ip) == {"203.0.113.17", "203.0.113.21", "203.0.113.42"}
    busy, free, evil = (address for address in facts["addresses"])
    assert [address["allocation_id"] for address in (busy, free, evil)] == aws.addresses
    assert (busy["state"], len(busy["queue"]), len(busy["history"])) == ("in use", 5, 500)
    assert (free["state"], evil["holder"]["owner"]) == ("free", EVIL)
    with client(site) as anyone:
        headers = anyone.get(f"{site.page}page.css").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert text.count("<script") == 1


def test_only_names_of_dags_that_the_viewer_may_read_are_shown(site):
    if not site.fab:
        pytest.skip("the simple auth manager of this environment has no rights to single DAGs")
    with client(site, "reader") as reader:
        text = wait_for(lambda: reader.get(f"{site.page}?period=30d"), HIDDEN, "holder")
        data = reader.get(f"{site.page}data.json?period=30d").text
    assert HIDDEN in text
    for shown in (text, data):
        assert "holder" in shown
        for hidden in ("waits_", "daily_", "other_team", "script&gt;", "document.title"):
            assert hidden not in shown


def test_a_user_who_may_not_see_the_website_is_refused(site):
    if not site.fab:
        pytest.skip("every role of the simple auth manager may see the website")
    with client(site, "nobody") as nobody:
        assert nobody.get(site.page).status_code == 403
        assert nobody.get(f"{site.page}data.json").status_code == 403


def test_missing_corrupt_and_down_each_have_their_message(site, aws):
    with client(site, "admin") as admin:
        aws.put_record(1, "{not json")
        text = wait_for(lambda: admin.get(site.page), "not JSON")
        assert "is no lease record" in text or "not JSON" in text
        assert "waits_502" in text, "the others are still there"
        time.sleep(5)
        aws.is_down = True
        text = wait_for(lambda: admin.get(site.page), "does not answer")
        assert "203.0.113.17" in text, "EC2's answer is still there"
        assert "waits_502" not in text
        aws.is_down = False
        assert "waits_502" in wait_for(lambda: admin.get(site.page), "waits_502")


def test_50_viewers_who_refresh_read_each_record_once_in_five_seconds(site, aws):
    with client(site, "admin") as admin:
        headers, cookies = dict(admin.headers), dict(admin.cookies)
        admin.get(site.page)

    async def view(http: httpx.AsyncClient, end: float) -> int:
        seen = 0
        while time.monotonic() < end:
            answer = await http.get(f"{site.page}?period=6h")
            assert answer.status_code == 200
            seen += 1
            await asyncio.sleep(5)
        return seen

    async def all_of_them(end: float) -> int:
        limits = httpx.Limits(max_connections=60)
        async with httpx.AsyncClient(
            headers=headers, cookies=cookies, trust_env=False, timeout=120, limits=limits
        ) as http:
            return sum(await asyncio.gather(*(view(http, end) for _ in range(50))))

    begin = time.monotonic()
    aws.reads.clear()
    seen = asyncio.run(all_of_them(begin + 15))
    seconds = time.monotonic() - begin
    assert seen >= 100
    assert 0 < len(aws.reads) <= 3 * (seconds / 5 + 1), f"{len(aws.reads)} reads for {seen} views in {seconds:.0f} s"
    logging.getLogger(__name__).info("%d views in %.1f s: %d reads of three records", seen, seconds, len(aws.reads))


def test_the_page_is_in_the_menu(site, tab):
    if site.version[:2] == (3, 0):
        pytest.skip("Airflow 3.0 has no menu item for such a page")
    tab.set_window(width=1400)
    log_in(site, tab)
    if site.version >= (3,):
        tab.until("[...document.querySelectorAll('button')].some(b => b.innerText.includes('Browse'))")
        button = "[...document.querySelectorAll('button')].find(b => b.innerText.includes('Browse'))"
        left, top = tab.value(f"(({{x, y}}) => [x + 10, y + 10])({button}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            tab.call("Input.dispatchMouseEvent", type=kind, x=left, y=top, button="left", clickCount=1)
    link = "[...document.querySelectorAll('a')].find(a => a.textContent.trim() === 'Elastic IPs')"
    tab.until(f"{link} !== undefined")
    assert tab.value(f"{link}.href") == site.page
    tab.open(tab.value(f"{link}.href"))
    tab.until("document.querySelector('h1').innerText === 'Elastic IPs'")


def test_the_page_fits_light_dark_and_narrow_windows(site, aws, tab):
    plain = Record(lease=lease(3, minutes=4, phase=Phase.ACQUIRED), history=FREE.history)
    aws.put_record(2, shift_times(plain, time.time() - NOW))
    tab.set_window(width=1200)
    log_in(site, tab)
    tab.problems.clear()
    tab.open(f"{site.page}?period=24h")
    tab.until("document.querySelectorAll('section').length === 3 && document.body.innerText.includes('starting')")
    shots = os.environ.get("PAGE_SHOTS")
    name = ".".join(map(str, site.version))
    for label, width, dark in (("light", 1200, False), ("dark", 1200, True), ("narrow", 390, False)):
        tab.set_window(width=width, height=1000, dark=dark)
        time.sleep(1)
        assert tab.value("document.documentElement.scrollWidth <= window.innerWidth"), f"{label} is too wide"
        back = tab.value("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
        if shots:
            tab.screenshot(Path(shots) / f"{name}-{label}.png")
    assert tab.value("document.querySelectorAll('svg rect > title').length") > 20
    assert of_the_page(tab.problems) == []


def test_a_script_in_the_name_of_an_owner_is_text(site, tab):
    log_in(site, tab)
    tab.problems.clear()
    tab.open(site.page)
    tab.until("document.body.innerText.includes(\"document.title='taken'\")")
    assert tab.value("document.title") == "Elastic IPs - Airflow"
    assert tab.value("document.querySelectorAll('script').length") == 1
    assert of_the_page(tab.problems) == []


def test_the_page_refreshes_itself(site, aws, tab):
    log_in(site, tab)
    tab.open(site.page)
    tab.until("document.body.innerText.includes('waits_502')")
    aws.put_record(0, shift_times(FREE, time.time() - NOW))
    tab.until("document.querySelectorAll('section').length === 3 && !document.body.innerText.includes('waits_502')")


def test_links_lead_to_the_task_instance(site, tab):
    log_in(site, tab)
    tab.open(site.page)
    found = "[...document.querySelectorAll('dd a')].find(a => a.innerText === 'holder')"
    tab.until(f"{found} !== undefined")  # the page may still show records of another test
    link = tab.value(f"{found}.href")
    assert link.startswith(f"{site.url}/dags/holder/")
    assert ("/runs/scheduled__" in link) if site.version >= (3,) else ("dag_run_id=scheduled__" in link)
    assert tab.value("document.querySelector('.home').href") == f"{site.url}/"
