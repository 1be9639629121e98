"""A container engine and base images: existing ones, or else those that this machine can start and build."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.console import Console

ROOT = Path(__file__).resolve().parents[3]
BASE_IMAGES = ROOT / "docker" / "build-base-images.sh"
# The kernel's setting; it does not exist where no packets of bridges are filtered.
FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_START_SECONDS = 90.0
_PULL_SECONDS = 900.0


class NoEngineError(Exception):
    """No container engine is running or can be started; the message has the reason."""


class EngineError(Exception):
    """An engine runs, but the stack cannot be started on it; the message has the reason."""


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """
    Yield the environment variables of an engine; if it was started here, end it and remove its data.

    :raises NoEngineError: when no engine is running or can be started.
    """
    environment = dict(os.environ)
    if shutil.which("docker") and _answers(environment):
        yield environment
        return
    daemon = shutil.which("dockerd")
    if daemon is None:
        raise NoEngineError("no engine answers 'docker info', and 'dockerd' is not installed")
    if os.geteuid() != 0:
        raise NoEngineError("no engine answers 'docker info', and only root may start 'dockerd'")
    with tempfile.TemporaryDirectory(prefix="compose-test-engine-", ignore_cleanup_errors=True) as folder:
        environment["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
        # The engine runs without iptables, so its containers cannot reach the Internet; builds use the host's network.
        environment["BUILD_NETWORK"] = "host"
        with unfiltered_bridges(), _daemon(daemon, Path(folder), environment):
            yield environment


@contextlib.contextmanager
def unfiltered_bridges() -> Iterator[None]:
    """
    Let packets between the containers of a network pass without iptables, whose rules may drop them.

    An engine with iptables sets the policy of FORWARD to DROP, accepts the packets of its own networks, and leaves both
    in place when it ends. https://docs.docker.com/engine/network/packet-filtering-firewalls/
    """
    before = FILTERED.read_text("ascii") if FILTERED.exists() else "0"
    if before.strip() == "0":
        yield
        return
    FILTERED.write_text("0", "ascii")
    try:
        yield
    finally:
        FILTERED.write_text(before, "ascii")


@contextlib.contextmanager
def _daemon(program: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    roots = ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
    network = ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    log = folder / "dockerd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--host", environment["DOCKER_HOST"], *roots, *network], stdout=output, stderr=output
        )

    def failure() -> NoEngineError:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return NoEngineError(f"'dockerd' does not start here: {lines[-1] if lines else 'its log is empty'}")

    def is_ready() -> bool:
        if process.poll() is not None:
            raise failure()
        return _answers(environment)

    try:
        wait_for(is_ready, seconds=_START_SECONDS, error=failure, pause_seconds=1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=120)
        for left in (folder / "exec" / "netns").glob("*"):  # mounts that the engine leaves; they cannot be removed
            _run(["umount", str(left)], environment)


def _answers(environment: dict[str, str]) -> bool:
    return _run(["docker", "info"], environment).returncode == 0


def base_images(environment: dict[str, str], *, console: Console) -> dict[str, str]:
    """
    Pull the official base images, or build them from Debian packages if no registry can be reached.

    :return: the variables with the names of the images that were built; none for the official images.
    :raises EngineError: when they can neither be pulled nor built.
    """
    if "BASE_IMAGE" in environment and "POSTGRES_IMAGE" in environment:
        return {}
    official = pinned_images()
    wanted = [official["BASE_IMAGE"], official["POSTGRES_IMAGE"]]
    pulled = [_pull(image, environment) for image in wanted]
    if not any(pulled):
        console.step("the official images are available")
        return {}
    console.step(f"no image registry ({pulled[0] or pulled[1]}); building base images from Debian packages")
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise EngineError(f"{BASE_IMAGES.name} needs root and debootstrap, and {wanted} cannot be pulled")
    built = _run([str(BASE_IMAGES)], environment, seconds=_PULL_SECONDS)
    if built.returncode != 0:
        raise EngineError(f"{BASE_IMAGES.name} failed:\n{built.stderr[-2000:]}")
    return dict(line.split("=", 1) for line in built.stdout.splitlines())


def pinned_images() -> dict[str, str]:
    """Return the images of docker-compose.yaml, by the variables that replace them."""
    from yaml import safe_load  # noqa: PLC0415 - Airflow brings it

    services = safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))["services"]
    named = [services["local-aws"]["build"]["args"]["BASE_IMAGE"], *(s["image"] for s in services.values())]
    return dict(name[2:-1].split(":-", 1) for name in named if name.startswith("${"))


def _pull(image: str, environment: dict[str, str]) -> str:
    """Pull an image unless it is available; return the error, or "" on success."""
    if _run(["docker", "image", "inspect", image], environment).returncode == 0:
        return ""
    pulled = _run(["docker", "pull", "--quiet", image], environment, seconds=_PULL_SECONDS)
    return "" if pulled.returncode == 0 else pulled.stderr.strip().splitlines()[-1]


def _run(command: list[str], environment: dict[str, str], *, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=seconds, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, returncode=1, stdout="", stderr=f"no answer after {seconds:.0f} s")
