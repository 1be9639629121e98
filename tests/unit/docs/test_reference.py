"""The reference has every public class, and every link of every page leads somewhere."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from airflow_eip_provider.provider_info import get_provider_info
from tests.unit.docs.pages import PAGES, ROOT

OPTIONS = ROOT / "docs" / "reference" / "configuration.md"
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))


def options_table() -> str:
    """Return the options of section ``[eip]`` as the page has them."""
    options = get_provider_info()["config"]["eip"]["options"]
    rows = [
        f"| `{name}` | {option['description']} | {option['type']} | `{option['example']}` | {option['version_added']} |"
        for name, option in options.items()
    ]
    return "\n".join(["| option | meaning | type | example | since |", "| --- | --- | --- | --- | --- |", *rows])


def test_the_page_of_options_has_those_of_the_provider():
    page = OPTIONS.read_text(encoding="utf-8")
    assert re.findall(r"^\| option \|.*?(?=\n\n)", page, re.DOTALL | re.MULTILINE) == [options_table()]


def public_classes() -> list[str]:
    """Return the classes of the modules that Airflow is told of, as a user imports them."""
    base_of = {"operators": "BaseOperator", "sensors": "BaseOperator", "hooks": "BaseHook", "triggers": "BaseTrigger"}
    found = set()
    for kind, base in base_of.items():
        for entry in get_provider_info()[kind]:
            for name in entry["python-modules"]:
                module = importlib.import_module(name)
                for attribute, value in vars(module).items():
                    if (
                        inspect.isclass(value)
                        and value.__module__.startswith(name)
                        and not attribute.startswith("_")
                        and base in {ancestor.__name__ for ancestor in value.__mro__}
                    ):
                        found.add(f"{name}.{attribute}")
    return sorted(found)


def test_every_public_class_is_in_the_reference():
    classes = public_classes()
    assert len(classes) > 15
    assert [name for name in classes if f"autoclass:: {name}\n" not in REFERENCE] == []


@pytest.mark.parametrize("name", public_classes())
def test_it_has_a_docstring_of_its_own(name):
    module, _, attribute = name.rpartition(".")
    assert inspect.cleandoc(vars(getattr(importlib.import_module(module), attribute))["__doc__"] or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page):
    links = re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    )
    files = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    shown = {"local-emr.md": "local_emr/README.md", "deploy.md": "deploy/README.md"}
    assert [file for file in files if not (page.parent / file).exists() and file not in shown] == []


def test_every_page_is_in_the_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {line for block in re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL) for line in block.split()}
    pages = {
        str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES if page.is_relative_to(ROOT / "docs")
    }
    assert pages - listed == {"index"}
