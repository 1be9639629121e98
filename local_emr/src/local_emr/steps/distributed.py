"""``--files`` and ``--archives`` of ``spark-submit``: what YARN puts into the working directory of every container."""

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

    :param name: what it is called in the directory; an archive is a directory of that name, with its content.
    """

    source: str
    name: str
    is_archive: bool


def read_distributed(option: str, value: str, given: list[str]) -> tuple[list[Distributed], list[str]]:
    """
    Read one option of ``spark-submit``.

    :param given: the option as it was given, in one word or in two.
    :return: what it distributes, and the option for Spark without YARN, where a file has no other name than its own.
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
    Make a container's directory.

    :param path_of: source → where it is on this machine.
    :raises OSError: when one does not exist.
    :raises shutil.ReadError: when an archive is none.
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
