"""Controls a headless Chromium with the Chrome DevTools Protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

from websockets.sync.client import connect

from harness.processes import free_port
from harness.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SECONDS = 60.0


def program() -> str | None:
    """Return the path of Chromium, if it is installed."""
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
        """Close the connection to the tab."""
        self._socket.close()

    def call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        """Call a method of the protocol, and add console errors that arrive meanwhile to ``problems``."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_SECONDS))
            self._keep_problem(message)
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                answer: Mapping[str, Any] = message["result"]
                return answer

    def _keep_problem(self, message: Mapping[str, Any]) -> None:
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            entry = message["params"]["entry"]
            self.problems.append(f"{entry['text']} {entry.get('url', '')}")
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(message["params"]["exceptionDetails"]))
        if message.get("method") == "Page.javascriptDialogOpening":
            self.problems.append("a dialog")

    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]
        return result.get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true."""

        def is_true() -> bool:
            try:
                return bool(self.value(expression))
            except AssertionError:  # evaluation fails while a page is loaded
                return False

        error = lambda: AssertionError(f"never true: {expression}; text of the page: {self.text[:2000]}")  # noqa: E731
        wait_for(is_true, seconds=_SECONDS, error=error, pause_seconds=0.2)

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return str(self.value("document.body ? document.body.innerText : ''"))

    def type_into(self, selector: str, text: str) -> None:
        """Type into a field, as a keyboard does."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press_enter(self) -> None:
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def set_window(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window and the preferred colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write a screenshot of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Start Chromium with a new profile."""
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
    def address() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.load(answer)
        except OSError:
            return ""
        return next((str(tab["webSocketDebuggerUrl"]) for tab in tabs if tab["type"] == "page"), "")

    return wait_for(address, seconds=_SECONDS, error=lambda: AssertionError("Chromium does not start"))
