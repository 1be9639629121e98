"""The step runner of the local EMR: every step is a real process with a life of its own."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.local_aws.emr.steps import CANCELLED, StepResult
from airflow_eip_provider.local_aws.steps.command import S3Location, StepRefusedError, command_of
from airflow_eip_provider.local_aws.steps.logs import StepLogs, log_address
from airflow_eip_provider.local_aws.steps.processes import MARK_VARIABLE, end_processes, mark_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.local_aws.emr.steps import StepSpec

USER_AGENT = "local-aws-step-runner"
"""Marks the runner's own S3 calls, so that they can be told from the calls of the code under test."""

_POLL_SECONDS = 0.1


@dataclass(kw_only=True)
class _Run:
    """A step that has not ended."""

    step: StepSpec
    on_end: Callable[[StepResult], None]
    logs: StepLogs
    work_dir: Path
    cancelled: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread | None = None


class ProcessStepRunner:
    """Runs steps as processes of this machine, which stands for every node of a cluster.

    ``spark-submit`` is the one of the installed PySpark (see ``spark_submit``); any other command runs as it is. A step
    has a directory, a session and a minimal environment of its own, and ends with everything that it started: what it
    left in the background is killed with it.

    :param endpoint_url: Returns the URL of the local AWS, once it is known.
    :param state_dir: Where steps keep their files: ``STATE/steps/STEP/{controller,stdout,stderr,syslog,work/}``.
    :param grace_seconds: How long a cancelled process may take to end before it is killed.
    """

    def __init__(
        self,
        *,
        endpoint_url: Callable[[], str],
        state_dir: Path,
        grace_seconds: float = 5.0,
    ) -> None:
        self.endpoint_url = endpoint_url
        self.state_dir = state_dir.resolve()
        self.grace_seconds = grace_seconds
        self._mark = secrets.token_hex(8)
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._closed = False

    def start(self, step: StepSpec, on_end: Callable[[StepResult], None]) -> None:
        """Start the step on a thread of its own and return at once."""
        directory = self.state_dir / "steps" / step.step_id
        run = _Run(step=step, on_end=on_end, logs=StepLogs(directory=directory), work_dir=directory / "work")
        run.thread = threading.Thread(target=self._live, args=(run,), name=f"step-{step.step_id}", daemon=True)
        with self._lock:
            self._runs[step.step_id] = run
            if self._closed:
                run.cancelled.set()
        run.thread.start()

    def cancel(self, step_id: str) -> None:
        """Tell a step to end, with everything that it started, and return at once."""
        with self._lock:
            run = self._runs.get(step_id)
        if run is not None:
            run.cancelled.set()

    def close(self) -> None:
        """End every step and return when nothing of them is left; logs are no longer kept.

        ``on_end`` is called from other threads meanwhile: do not hold a lock that it needs.
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
    def processes(self) -> dict[int, StepSpec]:
        """The first process of every running step, and the step."""
        with self._lock:
            return {run.process.pid: run.step for run in self._runs.values() if run.process is not None}

    def mark(self, step_id: str) -> str:
        """Return what every process of a step carries in ``LOCAL_AWS_MARK``, and no other runner's process."""
        return f"{self._mark}/{step_id}"

    def step_of(self, process: psutil.Process) -> StepSpec | None:
        """Return the running step that a process is of, by its mark or as the step's first process."""
        mark = mark_of(process)
        with self._lock:
            for run in self._runs.values():
                is_first = run.process is not None and run.process.pid == process.pid
                if is_first or mark == self.mark(run.step.step_id):
                    return run.step
        return None

    def _live(self, run: _Run) -> None:
        result = StepResult(succeeded=False, exit_code=None, reason="Unknown Error.")
        try:
            result = self._run(run)
            self._keep_logs(run)
        finally:
            with self._lock:
                del self._runs[run.step.step_id]
            run.on_end(result)

    def _run(self, run: _Run) -> StepResult:
        step, started = run.step, time.monotonic()
        try:
            run.work_dir.mkdir(parents=True, exist_ok=True)
            command = command_of(step, fetch=self._fetch, work_dir=run.work_dir)
            exit_code = self._run_process(run, command)
        except StepRefusedError as error:
            return self._refused(run, reason=error.reason, message=error.message)
        except OSError as error:
            return self._refused(run, reason="Unknown Error.", message=str(error))
        finally:
            shutil.rmtree(run.work_dir, ignore_errors=True)
        outcome = "cancelled" if run.cancelled.is_set() else f"exit code {exit_code}"
        run.logs.note(f"Step ended: {outcome}, after {time.monotonic() - started:.0f} seconds")
        if run.cancelled.is_set():
            return CANCELLED
        if exit_code == 0:
            return StepResult(succeeded=True, exit_code=0)
        return self._failed(run, exit_code=exit_code, message=run.logs.failure_message(exit_code=exit_code))

    def _run_process(self, run: _Run, command: list[str]) -> int:
        environment = self._environment(run)
        # Looked up here because the step's PATH differs from ours.
        program = shutil.which(command[0], path=environment["PATH"])
        if program is None:
            raise StepRefusedError("Unknown Error.", f'Cannot run program "{command[0]}": No such file or directory')
        run.logs.note(f"startExec {shlex.join(command)}")
        with run.logs.path("stdout").open("wb") as stdout, run.logs.path("stderr").open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - running commands is what a step is
                [program, *command[1:]],
                cwd=run.work_dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        root = psutil.Process(process.pid)
        run.process = process
        run.logs.note(f"Child process {process.pid} of step {run.step.step_id}")
        while process.poll() is None and not run.cancelled.wait(_POLL_SECONDS):
            pass
        if not end_processes(self.mark(run.step.step_id), root=root, grace_seconds=self.grace_seconds):
            run.logs.note("Some processes of the step could not be killed")
        return process.wait()

    def _environment(self, run: _Run) -> dict[str, str]:
        """Return the variables of a step, none of them inherited but where Java is."""
        temporary = run.work_dir / "tmp"
        temporary.mkdir(exist_ok=True)
        path = [self._programs(), Path(sys.executable).parent, *os.defpath.split(os.pathsep), "/usr/local/bin"]
        variables = {
            "PATH": os.pathsep.join(dict.fromkeys(str(directory) for directory in path if directory)),
            "HOME": str(run.work_dir),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.endpoint_url(),
            "AWS_REGION": run.step.region,
            "AWS_DEFAULT_REGION": run.step.region,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LOCAL_AWS_STEP_DIR": str(run.logs.directory),
            "LOCAL_AWS_STEP_ID": run.step.step_id,
            MARK_VARIABLE: self.mark(run.step.step_id),
        }
        if java_home := os.environ.get("JAVA_HOME"):
            variables["JAVA_HOME"] = java_home
        return variables

    def _programs(self) -> Path:
        """Return the directory of the programs that a cluster has and this machine lacks: ``spark-submit``."""
        directory = self.state_dir / "bin"
        directory.mkdir(parents=True, exist_ok=True)
        program = directory / "spark-submit"
        module = "airflow_eip_provider.local_aws.steps.spark_submit"
        text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n'
        with self._lock:
            if not program.exists() or program.read_text(encoding="utf-8") != text:
                program.write_text(text, encoding="utf-8")
                program.chmod(0o755)
        return directory

    def _fetch(self, location: S3Location, path: Path) -> None:
        try:
            self._s3().download_file(location.bucket, location.key, str(path))
        except (ClientError, BotoCoreError) as error:
            raise StepRefusedError("Script not found.", f"cannot fetch {location}: {error}") from error

    def _keep_logs(self, run: _Run) -> None:
        if self._closed or log_address(run.step, "stderr") is None:
            return
        try:
            run.logs.upload(self._s3(), run.step)
        except (ClientError, BotoCoreError) as error:
            run.logs.note(f"Logs are not in {run.step.log_uri}: {error}")

    def _s3(self) -> Any:
        session = boto3.session.Session()  # one a thread: the default session is not thread-safe
        return session.client(
            "s3",
            endpoint_url=self.endpoint_url(),
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - the local AWS looks at no secret
            config=Config(user_agent_extra=USER_AGENT, s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )

    def _refused(self, run: _Run, *, reason: str, message: str) -> StepResult:
        """Fail a step that never ran; the logs say why, as those of a step that did."""
        run.logs.note(message)
        run.logs.path("stderr").write_text(f"{message}\n", encoding="utf-8")
        return (
            CANCELLED if run.cancelled.is_set() else self._failed(run, exit_code=None, message=message, reason=reason)
        )

    @staticmethod
    def _failed(run: _Run, *, exit_code: int | None, message: str, reason: str = "Unknown Error.") -> StepResult:
        address = log_address(run.step, "stderr")
        log_file = str(address) if address else None
        return StepResult(succeeded=False, exit_code=exit_code, reason=reason, message=message, log_file=log_file)
