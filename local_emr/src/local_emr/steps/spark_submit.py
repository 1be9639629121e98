"""``spark-submit`` for steps of a local cluster: PySpark's own, with an environment like EMR's.

YARN is replaced by a Spark local cluster whose executors are separate processes. ``s3://`` paths use a mirror of the
local S3 through Hadoop's ``ViewFileSystemOverloadScheme``, which needs no extra jar:
https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/ViewFsOverloadScheme.html.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from local_emr.steps.command import S3_SCHEMES, S3Location
from local_emr.steps.distributed import Distributed, place, read_distributed
from local_emr.steps.examples import example_arguments
from local_emr.steps.logs import NodeLogs
from local_emr.steps.mirror import BucketMirror
from local_emr.steps.node import INFO, NODE_VARIABLE
from local_emr.steps.processes import DEPLOY_MODE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOCAL_MASTER = "local-cluster[2,1,1024]"
"""Two executors of one core and 1024 MB each."""
ONE_NODE_MASTER = "local-cluster[1,2,1024]"
"""Where all executors would be on the same node: one of two cores, as starting another takes longer than most steps."""

# Steps here are short; the optimizing compiler would cost a third of their time. A step's extraJavaOptions come later
# and override this.
_JVM_OPTIONS = "-XX:TieredStopAtLevel=1"

_FLAGS = frozenset({"--help", "-h", "--verbose", "-v", "--version", "--supervise", "--usage-error"})
_CLUSTER_OPTIONS = frozenset({"--deploy-mode", "--executor-cores", "--executor-memory", "--num-executors", "--queue"})
_CLUSTER_SETTINGS = (
    "spark.dynamicAllocation.",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.pyspark.",
    "spark.shuffle.service.",
    "spark.submit.deployMode",
)

# Spark's default, without the local cluster's master and workers, whose many harmless errors at shutdown would hide
# the job's own error.
_LOGGING = """\
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.worker.name = org.apache.spark.deploy.worker
logger.worker.level = off
logger.master.name = org.apache.spark.deploy.master
logger.master.level = off
logger.rpc.name = org.apache.spark.rpc
logger.rpc.level = error
"""


@dataclass(frozen=True, kw_only=True)
class LocalArguments:
    """Arguments of ``spark-submit`` adapted to one machine.

    :param changes: One line per change.
    :param application: The application's file or class path, as given, if any.
    :param deploy_mode: Where YARN would run the driver: on the primary node (``client``) or a core node (``cluster``).
    :param distributed: The files that YARN puts into its containers, in cluster mode also the driver's.
    :param master: The Spark master that replaces YARN.
    """

    arguments: list[str]
    application: str | None
    changes: list[str] = field(default_factory=list)
    deploy_mode: str = "client"
    distributed: list[Distributed] = field(default_factory=list)
    master: str = LOCAL_MASTER


def localize(arguments: Sequence[str], *, one_node: bool = False) -> LocalArguments:
    """
    Drop the options that size a YARN cluster; keep the application's arguments.

    :param one_node: Whether the primary node is the cluster's only node.
    """
    # If the step asks for a number of executors, start two.
    master = LOCAL_MASTER if not one_node or _counts_executors(arguments) else ONE_NODE_MASTER
    kept: list[str] = []
    changes: list[str] = []
    deploy_mode = "client"
    distributed: list[Distributed] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        given = [f"{option}={value}"] if equals else [option]
        if not equals and option not in _FLAGS and rest:
            value = rest.pop(0)
            given.append(value)
        deploy_mode = _deploy_mode(option, value) or deploy_mode
        if _sizes_a_cluster(option, value):
            changes.append(f"{' '.join(given)} is left out: the step runs on {master}")
        else:
            files, given = read_distributed(option, value, given)
            distributed += files
            kept += given
    return LocalArguments(
        arguments=kept + rest,
        application=rest[0] if rest else None,
        changes=changes,
        deploy_mode=deploy_mode,
        distributed=distributed,
        master=master,
    )


def _counts_executors(arguments: Sequence[str]) -> bool:
    text = " ".join(arguments)
    return "--num-executors" in text or "spark.executor.instances" in text


def _deploy_mode(option: str, value: str) -> str | None:
    if option in ("--conf", "-c"):
        name, _, setting = value.partition("=")
        return setting if name == "spark.submit.deployMode" else None
    return value if option == "--deploy-mode" else None


def _sizes_a_cluster(option: str, value: str) -> bool:
    if option == "--master":
        return value.startswith("yarn")
    if option in ("--conf", "-c"):
        name, _, setting = value.partition("=")
        return name.startswith(_CLUSTER_SETTINGS) or (name == "spark.master" and setting.startswith("yarn"))
    return option in _CLUSTER_OPTIONS


def settings(buckets: Iterable[str], *, mirror: Path, master: str) -> dict[str, str]:
    """Return the Spark settings that replace a cluster's ``spark-defaults.conf``."""
    defaults = {
        "spark.master": master,
        "spark.ui.enabled": "false",
        "spark.driver.defaultJavaOptions": _JVM_OPTIONS,
        "spark.executor.defaultJavaOptions": _JVM_OPTIONS,
        # Hadoop's default local file system would write a .crc file for each file.
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    }
    for scheme in S3_SCHEMES:
        defaults[f"spark.hadoop.fs.{scheme}.impl"] = "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme"
    for bucket in buckets:
        # A fallback instead of linkMergeSlash, whose listings give wrong paths to the output committer.
        defaults[f"spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"] = (mirror / bucket).as_uri()
    return defaults


def main(arguments: Sequence[str]) -> int:
    """Run ``spark-submit``, or ``run-example`` if that is the first argument, and return its exit code."""
    if arguments[:1] == ["run-example"]:
        try:
            arguments = example_arguments(arguments[1:], directory=_pyspark() / "examples/src/main/python")
        except LookupError as error:
            sys.stderr.write(f"run-example: {error}\n")
            return 1
    logs = NodeLogs(directory=Path(os.environ["LOCAL_AWS_STEP_DIR"]))
    local = localize(arguments, one_node=_is_one_node(Path(os.environ[NODE_VARIABLE])))
    for change in local.changes:
        logs.note(f"spark-submit: {change}")
    with tempfile.TemporaryDirectory(prefix="spark-", ignore_cleanup_errors=True) as directory:
        root = Path(directory)
        s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, user_agent_extra="local-aws-spark"))
        mirror = BucketMirror(s3, root=root / "s3")
        buckets = mirror.fill()
        wanted = [local.application or "", *(each.source for each in local.distributed)]
        if missing := next(filter(None, (_missing(address, mirror=mirror) for address in wanted)), None):
            sys.stderr.write(f"java.io.FileNotFoundException: {missing} does not exist in the local S3\n")
            return 1
        if local.deploy_mode == "cluster" and local.distributed:
            container = root / "container"
            try:
                place(local.distributed, container, path_of=lambda source: _path(source, mirror=mirror))
            except (OSError, shutil.ReadError) as error:
                sys.stderr.write(f"java.io.FileNotFoundException: {error}\n")
                return 1
            os.chdir(container)
        try:
            return _submit(local, root=root, defaults=settings(buckets, mirror=mirror.root, master=local.master))
        finally:
            for line in mirror.flush():
                logs.note(f"spark-submit: {line}")


def _is_one_node(node: Path) -> bool:
    """Return whether the node's info files say that it is the cluster's only node."""
    info = node / "root" / INFO / "job-flow.json"
    return info.exists() and json.loads(info.read_text(encoding="utf-8"))["instanceCount"] == 1


def _missing(address: str, *, mirror: BucketMirror) -> S3Location | None:
    try:
        location = S3Location.parse(address)
    except ValueError:
        return None
    return None if mirror.path(location).exists() else location


def _path(address: str, *, mirror: BucketMirror) -> Path:
    try:
        return mirror.path(S3Location.parse(address))
    except ValueError:
        return Path(address.removeprefix("local:").removeprefix("file:"))


def _submit(local: LocalArguments, *, root: Path, defaults: dict[str, str]) -> int:
    home = _spark_home(root)
    configuration = root / "conf"
    configuration.mkdir()
    node = Path(os.environ[NODE_VARIABLE])
    jars = node / "root/usr/lib/spark/jars"
    if any(jars.iterdir()):
        defaults |= {f"spark.{where}.extraClassPath": f"{jars}/*" for where in ("driver", "executor")}
    lines = [f"{name} {value}\n" for name, value in defaults.items()]
    (configuration / "spark-defaults.conf").write_text("".join(lines), encoding="utf-8")
    (configuration / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(configuration),
        "SPARK_LOCAL_DIRS": str(root / "local"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": f"-Djava.io.tmpdir={root}",
        "SPARK_LAUNCHER_OPTS": _JVM_OPTIONS,
        # The node's Python, with packages that bootstrap actions installed.
        "PYSPARK_PYTHON": str(node / "python/bin/python3"),
        "PYSPARK_DRIVER_PYTHON": str(node / "python/bin/python3"),
        DEPLOY_MODE_VARIABLE: local.deploy_mode,
    }
    return subprocess.call([home / "bin" / "spark-submit", *local.arguments], env=environment)  # noqa: S603 - its whole purpose


def _spark_home(root: Path) -> Path:
    """Return a SPARK_HOME with the installed PySpark, as a local cluster writes into its home."""
    home = root / "home"
    home.mkdir()
    for entry in _pyspark().iterdir():
        (home / entry.name).symlink_to(entry)
    return home


def _pyspark() -> Path:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        sys.exit("spark-submit: PySpark is not installed; pip install 'local-emr[spark]'")
    return Path(spec.origin).parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
