"""The runner of the local EMR: every step and bootstrap action is a real process."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_emr.ec2.metadata import PREFIX as METADATA_PREFIX
from local_emr.emr.steps import CANCELLED, SCRIPT_NOT_FOUND, TIMED_OUT, StepResult, StepSpec
from local_emr.steps.command import Command, S3Location, StepRefusedError, command_of
from local_emr.steps.logs import NodeLogs, log_address
from local_emr.steps.node import INFO, NODE_VARIABLE, Node, View, find_view
from local_emr.steps.processes import MARK_VARIABLE, end_processes, mark_of
from local_emr.steps.programs import by_name, program_texts, write_programs

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr.emr.steps import NodeWork

USER_AGENT = "local-aws-step-runner"
"""Marks the runner's own S3 calls, so that they can be told from the calls of the code under test."""

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_BUSY_SECONDS = 30.0


@dataclass(kw_only=True)
class _Run:
    """A running step or bootstrap action."""

    work: NodeWork
    on_end: Callable[[StepResult], None]
    logs: NodeLogs
    work_dir: Path
    cancelled: threading.Event = field(default_factory=threading.Event)
    timed_out: bool = False
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread | None = None


class ProcessStepRunner:
    """Runs steps and bootstrap actions as processes of this machine, which represents every node of a cluster.

    ``spark-submit`` is the installed PySpark's (see ``spark_submit``), and ``sudo`` does not change the user; any other
    command runs unchanged. Each step and bootstrap action has its own directory, session and minimal environment, and
    when it ends, its background processes are killed. Each node has its own Python environment and, where the system
    allows it, its own view of the file system (see ``node``).

    :param endpoint_url: Returns the URL of the local EMR.
    :param state_dir: Directory of their files: a step ``STATE/steps/STEP/{controller,stdout,stderr,syslog}``, a
        bootstrap action ``STATE/node/INSTANCE/bootstrap-actions/NUMBER/{controller,stdout,stderr}``; a node's
        own files are in ``STATE/node/INSTANCE/{root,python}``.
    :param grace_seconds: Seconds until a cancelled process is killed.
    :param views: Whether each node has its own view of the file system, where the system allows it.
    """

    def __init__(
        self,
        *,
        endpoint_url: Callable[[], str],
        state_dir: Path,
        grace_seconds: float = 5.0,
        views: bool = True,
    ) -> None:
        self.endpoint_url = endpoint_url
        self.state_dir = state_dir.resolve()
        self.grace_seconds = grace_seconds
        self._views = views
        self._mark = secrets.token_hex(8)
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._preparing = threading.Lock()
        self._closed = False

    def start(self, work: NodeWork, on_end: Callable[[StepResult], None]) -> None:
        """Start a step or bootstrap action on its own thread and return at once."""
        directory = self.state_dir / work.place
        run = _Run(work=work, on_end=on_end, logs=NodeLogs(directory=directory), work_dir=directory / "work")
        run.thread = threading.Thread(target=self._live, args=(run,), name=work.place, daemon=True)
        with self._lock:
            self._runs[work.id] = run
            if self._closed:
                run.cancelled.set()
        run.thread.start()

    def cancel(self, work_id: str) -> None:
        """Start to cancel a step or bootstrap action with its child processes, and return at once."""
        with self._lock:
            run = self._runs.get(work_id)
        if run is not None:
            run.cancelled.set()

    def close(self) -> None:
        """Cancel everything and wait until all processes have ended; logs are not uploaded.

        ``on_end`` is called from other threads: the caller must not hold a lock that it needs.
        """
        with self._lock:
            self._closed = True
            runs = list(self._runs.values())
        for run in runs:
            run.cancelled.set()
        for run in runs:
            if run.thread is not None and run.thread is not threading.current_thread():
                run.thread.join()

    @property
    def processes(self) -> dict[int, NodeWork]:
        """The first process of each running step and bootstrap action."""
        with self._lock:
            return {run.process.pid: run.work for run in self._runs.values() if run.process is not None}

    def mark(self, work_id: str) -> str:
        """Return the value of ``LOCAL_AWS_MARK`` in the processes of a step or bootstrap action."""
        return f"{self._mark}/{work_id}"

    def work_of(self, process: psutil.Process) -> NodeWork | None:
        """Return the running step or bootstrap action that a process belongs to."""
        mark = mark_of(process)
        with self._lock:
            for run in self._runs.values():
                is_first = run.process is not None and run.process.pid == process.pid
                if is_first or mark == self.mark(run.work.id):
                    return run.work
        return None

    def read_log(self, work: NodeWork, name: str) -> str:
        """Return the current content of a log, also after the work has ended."""
        path = NodeLogs(directory=self.state_dir / work.place).path(name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _live(self, run: _Run) -> None:
        result = StepResult(succeeded=False, exit_code=None, reason="Unknown Error.")
        try:
            result = self._run(run)
            self._keep_logs(run)
        finally:
            with self._lock:
                del self._runs[run.work.id]
            run.on_end(result)

    def _run(self, run: _Run) -> StepResult:
        started = time.monotonic()
        try:
            run.work_dir.mkdir(parents=True, exist_ok=True)
            command = command_of(run.work, fetch=self._fetch, work_dir=run.work_dir)
            exit_code = self._run_process(run, command)
        except StepRefusedError as error:
            return self._refused(run, reason=error.reason, message=error.message)
        except OSError as error:
            return self._refused(run, reason="Unknown Error.", message=str(error))
        finally:
            shutil.rmtree(run.work_dir, ignore_errors=True)
        outcome = "cancelled" if run.cancelled.is_set() else TIMED_OUT if run.timed_out else f"exit code {exit_code}"
        lasted = f"after {time.monotonic() - started:.0f} seconds"
        run.logs.note(f"Ended: {outcome}, {lasted}")
        if run.cancelled.is_set():
            return CANCELLED
        if run.timed_out:
            return self._failed(run, exit_code=None, message=f"Ended {lasted}", reason=TIMED_OUT)
        if exit_code == 0:
            return StepResult(succeeded=True, exit_code=0)
        return self._failed(run, exit_code=exit_code, message=run.logs.failure_message(exit_code=exit_code))

    def _run_process(self, run: _Run, command: Command) -> int:
        node = self._node(run)
        environment = self._environment(run, node)
        program, *arguments = command.arguments
        found = self._found(program, node, path=environment["PATH"])
        if found is None:
            raise StepRefusedError("Unknown Error.", f'Cannot run program "{program}": No such file or directory')
        run.logs.note(f"startExec {shlex.join(command.arguments)}")
        for warning in command.warnings:
            run.logs.note(f"Warning: {warning}")
        if not self.view:
            run.logs.note(
                f"Warning: the node has no view of its own of /home/hadoop, /mnt and /usr: {self.view.reason}"
            )
        started = [found, *arguments]
        if self.view:
            started = node.entered(started, view=self.view, state_dir=self.state_dir)
        with run.logs.path("stdout").open("wb") as stdout, run.logs.path("stderr").open("wb") as stderr:
            stderr.write("".join(f"{warning}\n" for warning in command.warnings).encode())
            stderr.flush()
            process = _started(
                started,
                cwd=run.work_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        root = psutil.Process(process.pid)
        run.process = process
        run.logs.note(f"Child process {process.pid} of {run.work.place}")
        limit = run.work.time_limit_seconds
        deadline = None if limit is None else time.monotonic() + limit
        while process.poll() is None and not run.cancelled.wait(_POLL_SECONDS):
            if deadline is not None and time.monotonic() > deadline:
                run.timed_out = True
                break
        if not end_processes(self.mark(run.work.id), root=root, grace_seconds=self.grace_seconds):
            run.logs.note("Some of its processes could not be killed")
        return process.wait()

    @cached_property
    def view(self) -> View:
        """How processes enter their node's view of the file system."""
        if not self._views:
            return View(reason="it is turned off")
        view = find_view(self.state_dir)
        if not view:
            logger.warning(
                "No node can have a view of its own of the file system (%s): scripts write to this machine's "
                "/home/hadoop, /mnt and /usr, as far as they may",
                view.reason,
            )
        return view

    @cached_property
    def _programs(self) -> Path:
        """The directory of the replacement programs (see ``programs``)."""
        directory = self.state_dir / "bin"
        write_programs(directory, program_texts(path=os.defpath))
        return directory

    def _node(self, run: _Run) -> Node:
        """Return a work's node; create its folder."""
        node = Node(self.state_dir / "node" / (run.work.instance_id or run.work.job_flow_id))
        with self._preparing:
            at_their_paths = ("sudo", "spark-submit", "run-example", "spark-example", "state-pusher-script")
            node.make(programs={name: (self._programs / name).read_text(encoding="utf-8") for name in at_their_paths})
            node.tell(run.work.node_info)
            _ = self.view
        return node

    def _found(self, program: str, node: Node, *, path: str) -> str | None:
        """Return the program to run, found in the node's PATH."""
        for directory in (node.programs, self._programs):
            if (name := by_name(program, directory)) != program:
                return str(directory / name)
        if self.view and program.startswith("/") and node.has(program):
            return program
        return shutil.which(program, path=path)

    def _environment(self, run: _Run, node: Node) -> dict[str, str]:
        """Return the environment of a process on a node; only the location of Java is inherited."""
        temporary = run.work_dir / "tmp"
        temporary.mkdir(exist_ok=True)
        path = [
            node.programs,
            self._programs,
            Path(sys.executable).parent,
            *os.defpath.split(os.pathsep),
            "/usr/local/bin",
        ]
        variables = {
            "PATH": os.pathsep.join(dict.fromkeys(str(directory) for directory in path if directory)),
            "HOME": node.home(self.view),
            "PWD": str(run.work_dir),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.endpoint_url(),
            "AWS_REGION": run.work.region,
            "AWS_DEFAULT_REGION": run.work.region,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.endpoint_url()}{METADATA_PREFIX}{run.work.instance_id}/",
            "EMR_NODE_INFO": str(node.root / INFO),
            "LOCAL_AWS_STEP_DIR": str(run.logs.directory),
            NODE_VARIABLE: str(node.directory),
            MARK_VARIABLE: self.mark(run.work.id),
        }
        if isinstance(run.work, StepSpec):
            variables["LOCAL_AWS_STEP_ID"] = run.work.step_id
        if java_home := os.environ.get("JAVA_HOME"):
            variables["JAVA_HOME"] = java_home
        return variables

    def _fetch(self, location: S3Location, path: Path) -> None:
        try:
            self._s3().download_file(location.bucket, location.key, str(path))
        except (ClientError, BotoCoreError) as error:
            raise StepRefusedError(SCRIPT_NOT_FOUND, f"cannot fetch {location}: {error}") from error

    def _keep_logs(self, run: _Run) -> None:
        if self._closed or log_address(run.work, "stderr") is None:
            return
        try:
            run.logs.upload(self._s3(), run.work)
        except (ClientError, BotoCoreError) as error:
            run.logs.note(f"Logs are not in {run.work.log_uri}: {error}")

    def _s3(self) -> Any:
        session = boto3.session.Session()  # one per thread: the default session is not thread-safe
        return session.client(
            "s3",
            endpoint_url=self.endpoint_url(),
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - the local EMR looks at no secret
            config=Config(user_agent_extra=USER_AGENT, s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )

    def _refused(self, run: _Run, *, reason: str, message: str) -> StepResult:
        """Report a failure to start; the reason is in the logs."""
        run.logs.note(message)
        run.logs.path("stderr").write_text(f"{message}\n", encoding="utf-8")
        return (
            CANCELLED if run.cancelled.is_set() else self._failed(run, exit_code=None, message=message, reason=reason)
        )

    @staticmethod
    def _failed(run: _Run, *, exit_code: int | None, message: str, reason: str = "Unknown Error.") -> StepResult:
        address = log_address(run.work, "stderr")
        log_file = str(address) if address else None
        return StepResult(succeeded=False, exit_code=exit_code, reason=reason, message=message, log_file=log_file)


def _started(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """
    Start a process; retry while its script is open for writing in another process.

    That can be a process that another thread forked while this thread wrote the script, and that has not called exec
    yet.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return subprocess.Popen(command, **options)  # noqa: S603 - running commands is what a node is for
        except OSError as error:
            if error.errno != errno.ETXTBSY or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
