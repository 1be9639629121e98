"""The pages for engineers name files, functions, tests and targets that exist: who moves one corrects the page."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "airflow_eip_provider"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [ARCHITECTURE, ROOT / "docs" / "glossary.md", ROOT / "docs" / "lock.md", ROOT / "CONTRIBUTING.md"]

_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_DOTTED = re.compile(r"[a-z_]\w*(\.\w+)+")
_TEST = re.compile(r"(\w+\.py)::(\w+)")
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|sh|md|toml|yaml|txt))")


@cache
def prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def in_code(page: Path, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """What stands between backticks and is of one form as a whole."""
    found = (pattern.fullmatch(code) for code in re.findall(r"`([^`\n]+)`", prose(page)))
    return [match for match in found if match]


def is_module(name: str) -> bool:
    return (PACKAGE / name / "__init__.py").exists() or (PACKAGE / f"{name}.py").exists()


@cache
def names_in(source: Path) -> dict[str, ast.AST]:
    """What a module or a class body defines, by name; a class's own names with its name before them."""
    names: dict[str, ast.AST] = {}

    def enter(body: list[ast.stmt], before: str) -> None:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                names[before + node.name] = node
                if isinstance(node, ast.ClassDef):
                    enter(node.body, f"{before}{node.name}.")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update({before + target.id: node for target in targets if isinstance(target, ast.Name)})

    enter(ast.parse(source.read_text(encoding="utf-8")).body, "")
    return names


def is_there(dotted: str) -> bool:
    """Whether a module of the provider, or what it defines, has this name."""
    folder, parts = PACKAGE, dotted.split(".")
    while parts:
        if (folder / parts[0]).is_dir():
            folder /= parts.pop(0)
        elif (source := folder / f"{parts[0]}.py").exists():
            return len(parts) == 1 or ".".join(parts[1:]) in names_in(source)
        else:
            return ".".join(parts) in names_in(folder / "__init__.py")
    return True


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_of_tests(file: str) -> set[str]:
    sources = [*(ROOT / "tests").rglob(file), *(ROOT / "local_emr" / "tests").rglob(file)]
    return {name.rpartition(".")[2] for source in sources for name in names_in(source)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_functions_exist(page):
    dotted = {match[0] for match in in_code(page, _DOTTED) if is_module(match[0].split(".")[0])}
    dotted -= {name for name in dotted if name.endswith(".py")}
    assert sorted(name for name in dotted if not is_there(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_exist(page):
    """Paths are given from the root of the repository, or from the package."""
    paths = {match[0] for match in in_code(page, _PATH)}
    paths |= set(re.findall(r"(?<=\s)(?:tests|local_emr|docs|bench|demo)/[\w./-]+\.(?:py|md)", page.read_text("utf-8")))
    assert sorted(path for path in paths if not (ROOT / path).exists() and not (PACKAGE / path).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_exist(page):
    tests = {(match[1], match[2]) for match in in_code(page, _TEST)}
    assert sorted(f"{file}::{name}" for file, name in tests if name not in names_of_tests(file)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^|\$ )make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named - targets == set()


def test_mutations_exist():
    source = (ROOT / "tests" / "verification" / "model" / "mutations.py").read_text(encoding="utf-8")
    removed = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    named = {" ".join(text.split()) for text in re.findall(r'mutation\s+"([^"]+)"', prose(ARCHITECTURE))}
    assert len(named) > 10
    assert named - removed == set()


def test_the_tree_has_every_package():
    named = {match[0] for match in in_code(ARCHITECTURE, _PATH)}
    packages = {f"{found.parent.name}/" for found in PACKAGE.glob("*/__init__.py")}
    assert packages - named == set()


def test_the_layers_are_those_that_the_import_check_uses():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    (block,) = re.findall(r"```text layers\n(.*?)```", ARCHITECTURE.read_text(encoding="utf-8"), re.DOTALL)
    assert block.splitlines() == [layer.replace("airflow_eip_provider.", "") for layer in layers]
