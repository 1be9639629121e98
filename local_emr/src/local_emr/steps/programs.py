"""Scripts that replace programs of a cluster that this machine lacks or that would be harmful here."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM_DIRECTORIES = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/lib/spark/bin")
"""Where scripts that name a program by its whole path expect it."""

_SPARK = "local_emr.steps.spark_submit"
_SUDO = """#!/bin/sh
# A node's user may do everything. Here it does it as itself: nothing on this machine is root's to change.
while :; do
    case "$1" in
        -u | -g | --user | --group) shift 2 ;;
        --) shift && break ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec env "$@"
"""
_METADATA_CLIENT = """#!/bin/sh
# On a node this address is its own metadata service, which is elsewhere here.
service=${AWS_EC2_METADATA_SERVICE_ENDPOINT%%/}
for argument do
    shift
    case "$argument" in
        http://169.254.169.254:80/*) argument=$service/${argument#http://169.254.169.254:80/} ;;
        http://169.254.169.254/*) argument=$service/${argument#http://169.254.169.254/} ;;
        http://169.254.169.254) argument=$service/ ;;
        169.254.169.254/*) argument=$service/${argument#169.254.169.254/} ;;
    esac
    set -- "$@" "$argument"
done
exec %s "$@"
"""
_STATE_PUSHER = """#!/bin/sh
# What EMR's debugging would show is in the log bucket already.
exit 0
"""
_MISSING = """#!/bin/sh
echo "%s: a local cluster has Spark and the AWS CLI, but no %s; %s" >&2
exit 127
"""
_USE_SPARK = "use spark-submit, or leave the step out here"
# Program → what it belongs to, and the alternative.
_NOT_HERE = {
    "s3-dist-cp": ("Hadoop", "use aws s3 cp --recursive"),
    "hadoop": ("Hadoop", "use aws s3 for files, or spark-submit"),
    "hadoop-streaming": ("Hadoop", _USE_SPARK),
    "hdfs": ("HDFS", "use aws s3"),
    "yarn": ("YARN", _USE_SPARK),
    "mapred": ("Hadoop", _USE_SPARK),
    "hive": ("Hive", _USE_SPARK),
    "hive-script": ("Hive", _USE_SPARK),
    "beeline": ("Hive", _USE_SPARK),
    "pig": ("Pig", _USE_SPARK),
    "pig-script": ("Pig", _USE_SPARK),
    "sqoop": ("Sqoop", _USE_SPARK),
    "hbase": ("HBase", _USE_SPARK),
    "presto-cli": ("Presto", _USE_SPARK),
    "trino-cli": ("Trino", _USE_SPARK),
    "flink": ("Flink", _USE_SPARK),
    "spark-sql": ("Hive metastore for spark-sql", "use spark-submit with a script"),
}


def program_texts(*, path: str) -> dict[str, str]:
    """
    Return the scripts: name → text.

    :param path: search path for curl and wget of this machine.
    """
    texts = {"sudo": _SUDO, "state-pusher-script": _STATE_PUSHER}
    for name in ("spark-submit", "run-example", "spark-example"):
        example = "" if name == "spark-submit" else " run-example"
        texts[name] = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {_SPARK}{example} "$@"\n'
    for name in ("curl", "wget"):
        if real := shutil.which(name, path=path):
            texts[name] = _METADATA_CLIENT % shlex.quote(real)
    for name, (product, instead) in _NOT_HERE.items():
        texts[name] = _MISSING % (name, product, instead)
    return texts


def write_programs(directory: Path, texts: dict[str, str]) -> None:
    """Write scripts that do not exist yet: a running one cannot be overwritten."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        program = directory / name
        if not program.exists() or program.read_text(encoding="utf-8") != text:
            new = directory / f".{name}.new"
            new.write_text(text, encoding="utf-8")
            new.chmod(0o755)
            new.replace(program)


def by_name(program: str, directory: Path) -> str:
    """Return the name of one of these programs given its path on a node; other paths are unchanged."""
    parent, name = os.path.split(program)
    return name if parent in SYSTEM_DIRECTORIES and (directory / name).exists() else program
