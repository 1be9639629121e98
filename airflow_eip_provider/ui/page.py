"""The page as HTML and as JSON; everything that comes from a record is escaped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.ui.names import HIDDEN
from airflow_eip_provider.ui.period import PERIODS, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.ui.names import OwnerView, TaskName
    from airflow_eip_provider.ui.view import AddressView, PageView

TITLE = "Elastic IPs"
# Nothing is loaded from other hosts, and the page contains no inline script or style.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
STATIC_HEADERS = {**HEADERS, "Cache-Control": "max-age=300"}
STATIC = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
_FIRST_ROWS = 10  # of the history; the rest is collapsed

_LEGEND = {
    "past": "leased",
    "broken": "leased, then taken over or undone",
    "start": "cluster starts",
    "active": "in use now",
    "ending": "being released",
    "queue": "waits",
}


@dataclass(frozen=True, slots=True)
class Links:
    """
    The targets of the page's links, relative to the page.

    :param home: Airflow's home page.
    :param task: returns the page of a task instance.
    """

    home: str
    task: Callable[[TaskName], str]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("airflow_eip_provider.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(utc=utc, duration=duration, percent=lambda share: f"{share * 100:.0f} %")
    environment.globals.update(
        title=TITLE, periods=tuple(PERIODS), legend=_LEGEND, first_rows=_FIRST_ROWS, hidden=HIDDEN
    )
    return environment


_TEMPLATES = _environment()


def render_page(page: PageView, links: Links) -> str:
    """Return the page."""
    return _TEMPLATES.get_template("page.html").render(page=page, links=links)


def render_refusal(*, status: int, login: str | None, home: str) -> str:
    """
    Return the page for a user who is not logged in (401), or may not see the page (403).

    :param login: Airflow's login page.
    """
    return _TEMPLATES.get_template("refused.html").render(status=status, login=login, home=home)


def static_file(name: str) -> bytes:
    """Return a file that the page loads, by its name in ``STATIC``."""
    return files("airflow_eip_provider.ui").joinpath("static", name).read_bytes()


def page_facts(page: PageView) -> dict[str, Any]:
    """Return the page as plain JSON, with times in UTC and durations in seconds."""
    return {
        "read_at": utc(page.read_at),
        "period": page.period,
        "lock_store": page.lock_store,
        "problems": list(page.problems),
        "waiting": page.waiting,
        "addresses": [_facts(address) for address in page.addresses],
    }


def _facts(address: AddressView) -> dict[str, Any]:
    holder, figures = address.holder, address.figures
    return {
        "allocation_id": address.allocation_id,
        "public_ip": address.public_ip,
        "state": address.state,
        "detail": address.detail,
        "place": address.place,
        "problems": list(address.problems),
        "grace": address.grace,
        "holder": holder
        and {
            "owner": _name(holder.owner),
            "cluster": holder.cluster and holder.cluster.text,
            "since": utc(holder.since),
            "seconds": holder.seconds,
            "waited_seconds": holder.waited,
            "token": holder.token,
        },
        "queue": [
            {
                "place": waiter.place,
                "owner": _name(waiter.owner),
                "since": utc(waiter.since),
                "waiting_seconds": waiter.seconds,
                "passed": waiter.passed,
                "addresses": waiter.addresses,
                "cluster": waiter.cluster and waiter.cluster.text,
            }
            for waiter in address.queue
        ],
        "history": [
            {
                "token": past.lease.token,
                "owner": _name(past.owner),
                "cluster": past.cluster and past.cluster.text,
                "from": utc(past.lease.acquired_at),
                "to": utc(past.lease.ended_at),
                "seconds": past.lease.seconds,
                "waited_seconds": past.lease.waited,
                "why": past.why,
            }
            for past in address.history
        ],
        "figures": figures and asdict(figures),
    }


def _name(owner: OwnerView) -> str | None:
    return None if owner.hidden else owner.text
