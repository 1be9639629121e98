"""
Reference pages that are written from the code, and checks of what a page says.

- ``{eip-policy}``: the IAM policy that ``airflow-eip iam-policy`` prints for an example, statement by statement.
- ``{eip-record}``: a stored record with everything in it, as ``lease.codec.encode`` writes it.
- A public class, function or method of a reference page without a docstring is a warning.
- Links from a page to files of the repository that have a page on the site lead to that page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from airflow_eip_provider import iam_policy
from airflow_eip_provider.cli.__main__ import make_parser
from airflow_eip_provider.lease import codec, record

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_LOG = logging.getLogger(__name__)
# Files outside docs/ that a page of the site shows.
_PAGES = {
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "../local_emr/README.md": "local-emr.md",
    "../deploy/README.md": "deploy.md",
}


class Policy(SphinxDirective):
    """An example of the policy: each statement, what it is for, and its JSON."""

    option_spec = {"binding": str}  # noqa: RUF012 - docutils' form

    def run(self) -> list[nodes.Node]:
        """Return what replaces the directive."""
        gateway = self.options.get("binding") == "nat-gateway"
        document = iam_policy.policy_document(
            iam_policy.Configuration(
                allocation_ids=["eipalloc-0123456789abcdef0"],
                region="eu-west-1",
                account="123456789012",
                service_roles=["arn:aws:iam::123456789012:role/EMR_DefaultRole"],
                instance_roles=["arn:aws:iam::123456789012:role/EMR_EC2_DefaultRole"],
                lock_store="dynamodb://airflow-eip-leases?region=eu-west-1",
                log_uri="s3://my-logs/emr/",
                binding="nat-gateway" if gateway else "primary",
                public_subnets=["subnet-0123456789abcdef0"] if gateway else (),
                route_tables=["rtb-0123456789abcdef0"] if gateway else (),
            )
        )
        lines = ["| statement | actions |", "| --- | --- |"]
        lines += [
            f"| {part['Sid']} | {', '.join(f'`{name}`' for name in part['Action'])} |" for part in document["Statement"]
        ]
        return [*_parsed(self, lines), _json(document)]


class StoredRecord(SphinxDirective):
    """A record with a lease, a queue, a possible orphan and a history."""

    def run(self) -> list[nodes.Node]:
        """Return what replaces the directive."""
        return [_json(codec.encode(_example()))]


def _example() -> record.Record:
    start = 1_790_000_000.0
    holder = _attempt("production/orders/scheduled__2026-11-20/azure.create/-1", try_number=1, nonce="5f1c")
    waiter = _attempt("production/sales/scheduled__2026-11-20/azure.create/-1", try_number=2, nonce="a09e")
    return record.Record(
        issued=42,
        lease=record.Lease(
            token=41,
            attempt=holder,
            phase=record.Phase.ACTIVE,
            acquired_at=start,
            written_at=start + 95,
            handover_by=start + 3600,
            cluster_name="orders",
            resource_id="j-2AXXXXXXGAPLF",
        ),
        free_since=start - 40,
        queue=(
            record.Entry(
                token=42, attempt=waiter, arrived_at=start + 300, cluster_name="sales", handover_seconds=3600.0
            ),
        ),
        possible_orphans=(
            record.PossibleOrphan(token=39, owner="0d1e2f", cluster_name="sales", keep=None, until=start + 900),
        ),
        history=(
            record.EndedLease(
                token=40,
                owner="production/sales/scheduled__2026-11-19/azure.create/-1",
                resource_id="j-3AXXXXXXGAPLG",
                acquired_at=start - 4000,
                ended_at=start - 40,
                why="released by its teardown",
            ),
        ),
        grace=120.0,
    )


def _attempt(name: str, *, try_number: int, nonce: str) -> record.Attempt:
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return record.Attempt(owner=digest, name=name, try_number=try_number, nonce=nonce)


def _json(value: Any) -> nodes.Node:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return nodes.literal_block(text, text, language="json")


def _parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Parse text in the page's own markup, headings included."""
    container = nodes.section()
    container.document = directive.state.document
    content = StringList(lines, source=directive.get_source_info()[0])
    directive.state.nested_parse(content, directive.content_offset, container, match_titles=True)
    return container.children


def documented_parser() -> argparse.ArgumentParser:
    """Return the parser of ``airflow-eip``, whose indented help is what reStructuredText calls a literal block."""
    parser = make_parser()
    commands = next(iter(action.choices for action in parser._actions if isinstance(action.choices, dict)))  # noqa: SLF001
    for each in (parser, *commands.values()):
        each.description, each.epilog = _literal(each.description), _literal(each.epilog)
        each.formatter_class = argparse.RawDescriptionHelpFormatter  # the usage without marks for a terminal
    return parser


def _literal(text: str | None) -> str | None:
    return text and re.sub(r"(?m)^(\S[^\n]*?):?\n((?:(?: +[^\n]*)(?:\n|\Z))+)", r"\1::\n\n\2\n", text)


def _check_docstring(_app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    public = not any(part.startswith("_") for part in name.split("."))
    if what in {"class", "function", "method", "property", "exception", "module"} and public and not any(lines):
        _LOG.warning("%s %s has no docstring", what, name, type="eip", subtype="docstring")


def _lead_to_pages(app: Sphinx, name: str, source: list[str]) -> None:
    depth = "../" * name.count("/")
    for file, page in _PAGES.items():
        source[0] = source[0].replace(f"]({depth}{file}", f"]({depth}{page}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    app.add_directive("eip-policy", Policy)
    app.add_directive("eip-record", StoredRecord)
    app.connect("autodoc-process-docstring", _check_docstring)
    app.connect("source-read", _lead_to_pages)
    return {"parallel_read_safe": True}
