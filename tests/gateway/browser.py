"""Debian's Chromium without a window, driven by its DevTools protocol over two pipes: no library, no port, no network."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.harness import DEADLINE

FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--disable-domain-reliability", "--metrics-recording-only", "--no-pings", "--mute-audio",
    "--force-color-profile=srgb", "--font-render-hinting=none", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
"""Quiet, and without a way to any other host."""


def unavailable() -> str | None:
    """Why there is no browser; None if there is one."""
    return None if shutil.which("chromium") else "no chromium: apt-get install chromium"


class PageError(AssertionError):
    """A script threw."""


class Browser:
    """One process, one page at a time. `errors`: what the console had to complain about; `requests`: URLs asked for."""

    def __init__(self, directory: Path) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has none for root
        command = ["chromium", *FLAGS, *sandbox, f"--user-data-dir={directory}", "about:blank"]
        with (directory.parent / "chromium.log").open("wb") as errors:
            self.process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", *command],
                pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True,
            )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self._target = ""
        self._session = ""
        self.errors: list[str] = []
        self.requests: list[str] = []

    # --- protocol -----------------------------------------------------------------------------------------------------

    def send(self, method: str, session: bool = True, **params: Any) -> Any:
        """One command and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = self._session
        data = memoryview(json.dumps(message).encode() + b"\0")
        while data:
            data = data[os.write(self._to, data) :]
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._from, 1 << 20) if ready else b""
            assert data, "chromium has ended" if ready else "chromium does not answer"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("sessionId") != self._session:
            return
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    # --- pages --------------------------------------------------------------------------------------------------------

    def new(self, width: int = 1440, height: int = 900, phone: bool = False, dark: bool = False) -> None:
        """A fresh page with nothing stored, in place of the one before."""
        if self._target:
            self.send("Target.closeTarget", session=False, targetId=self._target)
        context = self.send("Target.createBrowserContext", session=False)["browserContextId"]
        made = self.send("Target.createTarget", session=False, url="about:blank", browserContextId=context)
        self._target = made["targetId"]
        attached = self.send("Target.attachToTarget", session=False, targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        self.errors, self.requests = [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height, phone)
        self.media(scheme="dark" if dark else "light")

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """The size of the window in CSS pixels; a phone has twice the dots."""
        scale = 2 if phone else 1
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )

    def media(self, scheme: str = "light", motion: str = "no-preference") -> None:
        """What the person prefers."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        pairs = [{"name": name, "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=pairs)

    def open(self, url: str) -> None:
        """Goes there; returns once the document and its scripts are loaded."""
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def eval(self, expression: str) -> Any:
        """The value of an expression; promises are awaited. Raises PageError."""
        told = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in told:
            details = told["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return told["result"].get("value")

    def until(self, expression: str, timeout: float = DEADLINE) -> Any:
        """The first true value of an expression. Raises AssertionError after so many seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(PageError):  # the document is only being made
                value = self.eval(
                    f"new Promise((tell) => {{ let left = 50; const look = () => {{ const found = {expression};"
                    " if (found || !left--) tell(found instanceof Node || found);"
                    " else setTimeout(look, 10); }; look(); })"
                )
                if value:
                    return value
        shown = self.eval("document.body.innerText")
        told = f"the page says:\n{shown[:3000]}\n{self.errors}"
        raise AssertionError(f"waited {timeout:g} s in vain for {expression}; {told}")

    # --- hands --------------------------------------------------------------------------------------------------------

    def press(self, key: str, shift: bool = False) -> None:
        """A key, by its name in KeyboardEvent.key."""
        text = {"Enter": "\r", "Tab": ""}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39}
        rest = {"key": key, "windowsVirtualKeyCode": code.get(key, ord(key.upper()) if len(key) == 1 else 0)}
        rest["modifiers"] = 8 if shift else 0
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **rest)
        self.send("Input.dispatchKeyEvent", type="keyUp", **rest)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.send("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """The middle of the first such element that can be seen."""
        found = json.dumps(selector)
        x, y = self.until(
            f"(() => {{ const all = [...document.querySelectorAll({found})].filter((e) => e.checkVisibility());"
            " if (!all.length) return null; all[0].scrollIntoView({ block: 'nearest' });"
            " const r = all[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def texts(self, selector: str) -> list[str]:
        """Texts of all such elements."""
        found: list[str] = self.eval(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
        )
        return found

    def screenshot(self, path: Path) -> None:
        """What can be seen, as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """Ends it with all its processes."""
        with contextlib.suppress(AssertionError, OSError):
            self.send("Browser.close", session=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(DEADLINE)
        os.close(self._to)
        os.close(self._from)
