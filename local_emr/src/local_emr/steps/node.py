"""
A node's Python environment and its view of the machine's file system.

The view is a mount namespace (unshare(1)) with overlays over the machine's directories: what a script writes to
``/home/hadoop``, ``/usr/lib/spark`` or anywhere except ``/tmp`` is stored in the node's folder, where the node's next
script finds it. An unprivileged user gets it through a user namespace. Where the system allows neither, as in most
containers, scripts write to the machine itself; the controller log reports that.
"""

from __future__ import annotations

import ensurepip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NODE_VARIABLE = "LOCAL_AWS_NODE_DIR"
"""Environment variable with a node's folder, for the programs of the local EMR."""

HOME = "/home/hadoop"
INFO = "mnt/var/lib/info"
_OWN = ("home/hadoop", INFO, "mnt/var/log", "usr/bin", "usr/lib/spark/jars", "usr/lib/spark/conf", "usr/lib/spark/bin")
# File systems of the kernel, the boot directory, and directories shared by the machine's programs.
_SHARED = frozenset({"boot", "dev", "lost+found", "proc", "run", "sys", "tmp"})
_NO_OVERLAY_PATH = frozenset(",:\\ \"'\n")  # separators and quotes in overlay options
# As root, only a mount namespace; otherwise also a user namespace that keeps the user id.
_AS_ROOT = ("unshare", "--mount")
_AS_USER = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")
# Folders are accessed through open file descriptors, as their paths may be below a directory that is already covered.
_ENTER = """
state=$1 options=$3 overlaid=$4 bound=$5
exec 8<"$state" 9<"$2"
shift 5
node=/proc/self/fd/9
for name in $overlaid; do
    layers="lowerdir=/$name,upperdir=$node/root/$name,workdir=$node/overlay/$name"
    mount -t overlay -o "$layers$options" node "/$name" || exit 125
done
for name in $bound; do
    mount --no-canonicalize --bind "$node/root/$name" "/$name" || exit 125
done
# The state of the local EMR is no part of the view.
mount --no-canonicalize --bind /proc/self/fd/8 "$state" || exit 125
exec 8<&- 9<&-
cd "$PWD" || exit 125
exec "$@"
"""


@dataclass(frozen=True, kw_only=True)
class View:
    """
    How a process enters its node's view.

    :param command: the command that creates the namespaces; empty if the system allows none.
    :param options: additional overlay options.
    :param overlaid: root directories in which the node sees the machine's files and its own changes.
    :param bound: root directories in which it sees only its own files.
    :param reason: the reason if there is no view.
    """

    command: tuple[str, ...] = ()
    options: str = ""
    overlaid: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    reason: str = ""

    def __bool__(self) -> bool:
        return bool(self.command)


def find_view(state_dir: Path) -> View:
    """Test what this system allows, with a temporary node folder."""
    if shutil.which("unshare") is None:
        return View(reason="there is no unshare(1)")
    if _NO_OVERLAY_PATH & set(str(state_dir)):
        return View(reason=f"an overlay cannot be in {str(state_dir)!r}")
    probe = Node(state_dir / "probe")
    probe.make()
    try:
        reason = ""
        for command, options in ((_AS_ROOT, ""), (_AS_USER, ",userxattr")):
            if command == _AS_ROOT and os.geteuid() != 0:
                continue
            overlaid, bound = _directories()
            view = View(command=command, options=options, overlaid=overlaid, bound=bound)
            if probe.refused(view, state_dir):
                view = _possible(probe, view, state_dir)
            missing = sorted({"home", "mnt", "usr"} - {*view.overlaid, *view.bound})
            reason = probe.refused(view, state_dir) or (f"/{missing[0]} cannot be covered" if missing else "")
            if not reason:
                return view
        return View(reason=reason)
    finally:
        _remove(probe.directory)


def _possible(probe: Node, view: View, state_dir: Path) -> View:
    """Leave out directories that cannot be covered; they stay the machine's."""
    nothing = replace(view, overlaid=(), bound=())
    return replace(
        view,
        overlaid=tuple(n for n in view.overlaid if not probe.refused(replace(nothing, overlaid=(n,)), state_dir)),
        bound=tuple(n for n in view.bound if not probe.refused(replace(nothing, bound=(n,)), state_dir)),
    )


def _remove(directory: Path) -> None:
    """Remove a node's folder, including directories of the kernel's that their owner cannot enter."""
    for path in directory.glob("overlay/*/work"):
        path.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _directories() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """
    Return the directories of the root to overlay, and those to cover.

    An overlay hides mounts below it, so a directory with mounts stays the machine's. ``/mnt`` is the node's own, and so
    is ``/home`` if it cannot be overlaid, unless Python is installed there.
    """
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    python = [str(Path(path).resolve()) for path in (*sys.path, sys.prefix, sys.base_prefix) if path]
    overlaid, bound = [], []
    for path in sorted(Path("/").iterdir()):
        if path.name in _SHARED or path.is_symlink() or not path.is_dir() or set(path.name) & _NO_OVERLAY_PATH:
            continue
        has_mounts = any(mount.startswith(f"{path}/") for mount in mounted)
        has_python = any(each.startswith(f"{path}/") for each in python)
        if (path.name == "mnt" or (path.name == "home" and has_mounts)) and not has_python:
            bound.append(path.name)
        elif not has_mounts:
            overlaid.append(path.name)
    return tuple(overlaid), tuple(bound)


class Node:
    """
    A node's folder: ``root``, the changes to this machine's file system, and ``python``, an environment.

    :param directory: directory of this node.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.programs = directory / "python" / "bin"

    def make(self, *, programs: Mapping[str, str] | None = None) -> None:
        """
        Create the folder, if it does not exist.

        :param programs: scripts that are also in ``/usr/bin``.
        """
        for path in _OWN:
            (self.root / path).mkdir(parents=True, exist_ok=True)
        if not (self.directory / "python" / "pyvenv.cfg").exists():
            _make_environment(self.directory / "python")
        own = {name: f'#!/bin/sh\nexec {self.programs / name} "$@"\n' for name in ("python3", "pip3")}
        for name, text in {**own, **(programs or {})}.items():
            program = self.root / "usr/bin" / name
            if not program.exists():
                _write_program(program, text)

    def tell(self, info: Mapping[str, Any]) -> Path:
        """Write the node's info files; return their directory, which is ``/mnt/var/lib/info`` in its view."""
        directory = self.root / INFO
        for name, content in info.items():
            # Scripts read it with grep, so one value per line (docs: EMR, "Create bootstrap actions").
            (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return directory

    def home(self, view: View) -> str:
        """Return the home directory of the node's user."""
        return HOME if view else str(self.root / HOME.lstrip("/"))

    def has(self, program: str) -> bool:
        """Return whether a program's path is the node's own."""
        return (self.root / program.lstrip("/")).is_file()

    def entered(self, command: list[str], *, view: View, state_dir: Path) -> list[str]:
        """Return a command that runs another command in the node's view."""
        for name in (*view.overlaid, *view.bound):
            (self.root / name).mkdir(exist_ok=True)
        for name in view.overlaid:
            (self.directory / "overlay" / name).mkdir(parents=True, exist_ok=True)
        arguments = [str(state_dir), str(self.directory), view.options, " ".join(view.overlaid), " ".join(view.bound)]
        return [*view.command, "/bin/sh", "-c", _ENTER, "enter", *arguments, *command]

    def refused(self, view: View, state_dir: Path) -> str:
        """Return why a view is impossible, or an empty string."""
        command = self.entered(["true"], view=view, state_dir=state_dir)
        ended = subprocess.run(command, cwd=state_dir, capture_output=True, text=True, check=False)  # noqa: S603 - our own
        if ended.returncode == 0:
            return ""
        return (ended.stderr.strip() or f"{view.command[0]} ends with {ended.returncode}").splitlines()[0]


def _make_environment(directory: Path) -> None:
    """
    Create a virtual environment (PEP 405) that can import the local EMR's packages but not change them.

    pip installs only into the environment.
    """
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = directory / "lib" / version / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    found = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    lines = [f"import site; site.addsitedir({path!r})\n" for path in found]
    if find_spec("pip") is None:
        lines += [f"{wheel}\n" for wheel in Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")]
    (packages / "machine.pth").write_text("".join(lines), encoding="utf-8")
    programs = directory / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("python3", "python", version):
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(base)
    for name in ("pip", "pip3", f"pip{version.removeprefix('python')}"):
        _write_program(programs / name, f'#!/bin/sh\nexec {programs / "python3"} -m pip "$@"\n')
    # Written last, as a marker of completeness.
    settings = {"home": base.parent, "include-system-site-packages": "true", "version": sys.version.split()[0]}
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (directory / "pyvenv.cfg").write_text(text, encoding="utf-8")


def _write_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
