"""A headless Chromium, driven by the Chrome DevTools Protocol: as much of it as the page's tests need."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect

from harness.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SECONDS = 60.0


def program() -> str | None:
    """Return Chromium, if this machine has one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One tab."""

    def __init__(self, address: str) -> None:
        self._socket = connect(address, max_size=None, open_timeout=_SECONDS)
        self._number = 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Leave the tab."""
        self._socket.close()

    def call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        """Call a method of the protocol; what the console says meanwhile is kept in ``problems``."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=_SECONDS))
            self._keep(said)
            if said.get("id") == self._number:
                assert "error" not in said, (method, said)
                answer: Mapping[str, Any] = said["result"]
                return answer

    def _keep(self, said: Mapping[str, Any]) -> None:
        if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
            entry = said["params"]["entry"]
            self.problems.append(f"{entry['text']} {entry.get('url', '')}")
        if said.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(said["params"]["exceptionDetails"]))
        if said.get("method") == "Page.javascriptDialogOpening":
            self.problems.append("a dialog")

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression is."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
        return result.get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):  # between two pages there is nothing to ask
                if self.value(expression):
                    return
            time.sleep(0.2)
        raise AssertionError(f"never true: {expression}; the page says: {self.text[:2000]}")

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.value("document.body ? document.body.innerText : ''"))

    def type_into(self, selector: str, text: str) -> None:
        """Type into a field, as a keyboard does."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Press the key."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window, and which scheme the person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def photograph(self, path: Path) -> None:
        """Write what is in the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Start Chromium with a profile of its own."""
    port = free_port()
    command = [str(program()), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--remote-debugging-port={port}", f"--user-data-dir={directory}", "--hide-scrollbars", "about:blank"]
    command += ["--no-first-run", "--disable-background-networking", "--proxy-server=direct://"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        tab = Browser(_tab(port))
        try:
            yield tab
        finally:
            tab.close()
    finally:
        process.terminate()
        process.wait(30)


def _tab(port: int) -> str:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.load(answer)
            return next(str(tab["webSocketDebuggerUrl"]) for tab in tabs if tab["type"] == "page")
        except (OSError, StopIteration):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
