"""``--files`` and ``--archives`` of ``spark-submit``, which YARN puts into the working directory of every container."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_FILES = frozenset({"--files", "spark.files", "spark.yarn.dist.files"})
_ARCHIVES = frozenset({"--archives", "spark.archives", "spark.yarn.dist.archives"})


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """
    A file or an archive.

    :param name: its name in the directory; an archive becomes a directory of that name.
    """

    source: str
    name: str
    is_archive: bool


def read_distributed(option: str, value: str, given: list[str]) -> tuple[list[Distributed], list[str]]:
    """
    Read one option of ``spark-submit``.

    :param given: the option, as one word or two.
    :return: the files and archives, and the option for Spark without YARN, which cannot rename a file.
    """
    setting = option in {"--conf", "-c"}
    name, _, text = value.partition("=") if setting else (option, "", value)
    if name not in _FILES | _ARCHIVES:
        return [], given
    found = [_distributed(part, is_archive=name in _ARCHIVES) for part in text.split(",") if part]
    sources = ",".join(each.source for each in found)
    # Without YARN Spark unpacks archives itself, under the name after the "#".
    option_name = {"spark.yarn.dist.files": "spark.files", "spark.yarn.dist.archives": "spark.archives"}.get(name, name)
    kept = text if name in _ARCHIVES else sources
    return found, ["--conf", f"{option_name}={kept}"] if setting else [name, kept]


def _distributed(text: str, *, is_archive: bool) -> Distributed:
    source, _, alias = text.partition("#")
    return Distributed(source=source, name=alias or source.rstrip("/").rsplit("/", 1)[-1], is_archive=is_archive)


def place(distributed: Sequence[Distributed], directory: Path, *, path_of: Callable[[str], Path]) -> None:
    """
    Create a container's directory.

    :param path_of: source → path on this machine.
    :raises OSError: when a source does not exist.
    :raises shutil.ReadError: when an archive cannot be read.
    """
    directory.mkdir()
    for each in distributed:
        path, target = path_of(each.source), directory / each.name
        if each.is_archive:
            suffix = {".jar": "zip"}.get(path.suffix)
            shutil.unpack_archive(path, target, format=suffix)
        elif path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copyfile(path, target)
