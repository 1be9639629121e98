"""Builds the bootstrap action: the shell script with the programs that it runs and the modules that they import."""

from __future__ import annotations

import ast
import base64
import io
import shlex
import sys
import textwrap
import zipfile
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from airflow_eip_provider import __version__
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.stores.dynamodb import create_command
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "airflow_eip_provider"
# The replacement of botocore on a node.
_STAND_IN = f"{PACKAGE}/bootstrap_action/botocore_errors.py"
_BOTOCORE = {
    "botocore/__init__.py": "",
    "botocore/parsers.py": "from botocore.exceptions import ResponseParserError\n",
}
_SAME_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time in a zip; with it, equal sources give equal bytes
_LINE_LENGTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    The defaults of the script, which its arguments override.

    :param wait_seconds: the longest wait for the address.
    :param goes_on: whether a cluster that does not get the address continues without it.
    :param lock_store: the URI of the lock store; ``None`` without one.
    :param environment: the first part of the owners' names.
    """

    wait_seconds: int
    goes_on: bool
    lock_store: str | None
    environment: str


def bootstrap_script(options: Options) -> str:
    """
    Return the script; equal options give equal text.

    :raises InvalidInputError: for a lock store that a node cannot use.
    """
    programs = ["parameters"]
    if options.lock_store is not None:
        _check_store(options.lock_store)
        programs.append("lease")
    values = {
        "VERSION": __version__,
        "WAIT": f"{options.wait_seconds}s",
        "WHEN_BUSY": "continue" if options.goes_on else "fail",
        "LOCK_STORE": shlex.quote(options.lock_store or ""),
        "ENVIRONMENT": shlex.quote(options.environment),
        "PROGRAMS": textwrap.fill(base64.b64encode(bundle(programs)).decode(), _LINE_LENGTH),
    }
    script = resources.files(__package__).joinpath("script.sh").read_text("utf-8")
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    return script


def bundle(programs: list[str]) -> bytes:
    """
    Return a zip that ``python3`` runs: ``python3 programs.pyz PROGRAM …``.

    :param programs: modules of this package.
    """
    sources = {"__main__.py": _source(f"{PACKAGE}/bootstrap_action/__main__.py")}
    for program in programs:
        _collect(f"{PACKAGE}.bootstrap_action.{program}", sources)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _SAME_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on every platform
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, sources[name], compresslevel=9)
    return packed.getvalue()


def _collect(module: str, sources: dict[str, str]) -> None:
    """Add a module, its parent packages, and everything that they import at run time."""
    parent = module.rpartition(".")[0]
    if parent:
        _collect(parent, sources)
    if module.partition(".")[0] == "botocore":
        sources.update({**_BOTOCORE, "botocore/exceptions.py": _source(_STAND_IN)})
        return
    name = _path(module)
    if name in sources:
        return
    sources[name] = _source(name)
    for imported in _imports(sources[name]):
        if imported.partition(".")[0] in {PACKAGE, "botocore"}:
            _collect(imported, sources)
        elif imported.partition(".")[0] not in sys.stdlib_module_names:
            raise AssertionError(f"{module} imports {imported}, which is not on a node")


def _imports(source: str) -> Iterator[str]:
    """Yield the modules that a source imports at its top level; imports for type checkers are indented."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in names if name.startswith(PACKAGE) and _exists(name))


def _exists(module: str) -> bool:
    return resources.files(PACKAGE).joinpath(*module.split(".")[1:-1], f"{module.rpartition('.')[2]}.py").is_file()


def _path(module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}.py" if "." in module and _exists(module) else f"{path}/__init__.py"


def _source(name: str) -> str:
    """
    Return a source of this package for the node: without docstrings, but with the same line numbers.

    Python 3.9 has no ``slots`` for dataclasses; the programs work without them.
    """
    text = resources.files(PACKAGE).joinpath(*name.split("/")[1:]).read_text("utf-8")
    return _without_docstrings(text.replace(", slots=True)", ")"))


def _without_docstrings(source: str) -> str:
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            first, last = docstring.lineno - 1, int(docstring.end_lineno or 0)
            lines[first:last] = [" " * docstring.col_offset + '""\n', *["\n"] * (last - first - 1)]
    return "".join(lines)


def _check_store(uri: str) -> None:
    store = parse_uri(uri)
    if store.kind == "s3":
        raise InvalidInputError(
            f"using lock store '{uri}' from a node",
            problem="conditional writes to S3 need a newer AWS CLI than EMR's images have",
            remedy="use a dynamodb:// lock store for all owners that share the address, or omit --lock-store",
        )
    if store.create:
        raise InvalidInputError(
            f"using lock store '{uri}' from a node",
            problem="a node does not create tables",
            remedy="omit create=true, and let Airflow create the table, or create it yourself: "
            + create_command(store.name),
        )
