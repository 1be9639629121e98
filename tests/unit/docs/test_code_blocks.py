"""A block of code on a page runs, or says above itself why it is a fragment: ``<!-- fragment: REASON -->``."""

from __future__ import annotations

import ast
import configparser
import contextlib
import importlib.util
import io
import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider.cli.__main__ import make_parser
from airflow_eip_provider.provider_info import get_provider_info
from tests.unit.docs.pages import ALL_BLOCKS, ROOT, blocks

if TYPE_CHECKING:
    from tests.unit.docs.pages import Block

# What shows output, a picture, another language, or what the site makes itself.
_NOT_CODE = re.compile(r"|text.*|mermaid|hcl|\{(toctree|eval-rst|include|eip-policy|eip-record)\}.*")
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
# Commands of the shell and of tools that the package needs anyway; the tutorial's are run by a test of their own.
_TAKEN_AS_THEY_ARE = {".", "airflow", "cat", "cd", "docker", "eval", "export", "fi", "if", "mkdir", "pip", "then"}


def of(*languages: str, fragments: bool = False) -> list[Block]:
    return [block for block in ALL_BLOCKS if block.language in languages and (fragments or not block.fragment)]


def test_every_block_is_of_a_language_that_is_checked_here():
    checked = {"python", "json", "ini", "console", "bash"}
    assert [
        f"{block}: {block.language}"
        for block in ALL_BLOCKS
        if block.language not in checked and not _NOT_CODE.fullmatch(block.language)
    ] == []


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_runs(block):
    sdk = pytest.importorskip("airflow.sdk")
    code = compile(block.code, str(block), "exec")
    with contextlib.nullcontext() if "DAG(" in block.code else sdk.DAG("page", schedule=None):
        exec(code, {"__name__": "page"})


@pytest.mark.parametrize("block", of("python", fragments=True), ids=str)
def test_python_parses_also_as_a_fragment(block):
    ast.parse(re.sub(r"^ *\.\.\.$|, \.\.\.(?=\))", "", block.code, flags=re.MULTILINE))  # what is left out


@pytest.mark.parametrize("block", of("json", fragments=True), ids=str)
def test_json_parses(block):
    assert json.loads(block.code)


@pytest.mark.parametrize("block", of("ini"), ids=str)
def test_options_exist(block):
    given = configparser.ConfigParser()
    given.read_string(block.code)
    known = get_provider_info()["config"]
    assert [f"[{section}] {name}" for section in given.sections() for name in given[section]] == [
        f"[{section}] {name}"
        for section in given.sections()
        for name in given[section]
        if name in known[section]["options"]
    ]


def commands(code: str) -> list[list[str]]:
    """Return the commands of a block, without what they print when they are shown with a prompt."""
    lines = re.sub(r"\$\([^()]*\)", "VALUE", code.replace("\\\n", " ")).splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    found = []
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        words = list(lexer)
        while words:
            cut = next((n for n, word in enumerate(words) if word in {"&&", ";", "|", ">"}), len(words))
            if cut:
                found.append(words[:cut])
            words = [] if words[cut : cut + 1] == [">"] else words[cut + 1 :]
    return found


@pytest.mark.parametrize("block", of("console", "bash"), ids=str)
def test_commands_exist(block):
    for words in commands(block.code):
        program, *arguments = words
        if program == "airflow-eip":
            said = io.StringIO()
            try:
                with contextlib.redirect_stderr(said):
                    make_parser().parse_args(arguments)
            except SystemExit as ended:
                assert not ended.code, f"{shlex.join(words)}: {said.getvalue()}"  # noqa: PT017
        elif program == "make":
            named = {word for word in arguments if re.fullmatch("[a-z-]+", word)}
            assert named <= _TARGETS, shlex.join(words)
        elif program.startswith(("python", ".venv/bin/python")):
            if arguments[0] == "-m":
                assert importlib.util.find_spec(arguments[1]), shlex.join(words)
            elif arguments[0] == "-c":
                ast.parse(arguments[1])
            else:
                assert (ROOT / arguments[0]).is_file(), shlex.join(words)
        else:
            assert program in _TAKEN_AS_THEY_ARE, (
                f"{block}: nothing here checks {program!r}; above the block, write <!-- fragment: REASON -->"
            )


def test_a_block_in_a_list_and_a_fragment_are_recognised(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.unit.docs.pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "1. text\n\n   ```console\n   make test\n   ```\n\n<!-- fragment: why -->\n```python\nx = ...\n```\n"
    )
    first, second = blocks(page)
    assert (first.language, first.code, first.fragment) == ("console", "make test\n", None)
    assert (second.code, second.fragment) == ("x = ...\n", "why")
