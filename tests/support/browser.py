"""Chromium, driven over the DevTools protocol through two pipes: nothing is installed but the browser.

`QWEN_OMNI_CHROMIUM` names another browser than the `chromium` of the path.
"""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

CHROMIUM = os.environ.get("QWEN_OMNI_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--disable-extensions",
    "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip
# Chromium reads commands from descriptor 3 and answers on 4; those that Python made have other numbers.
_EXEC = 'exec 3<"/dev/fd/$IN" 4>"/dev/fd/$OUT"; exec "$@"'


class BrowserError(Exception):
    """The browser refused a command, or a script on the page raised."""


class Browser:
    """A browser with one page."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        inside, self._write = os.pipe()
        self._read, outside = os.pipe()
        command = ["sh", "-c", _EXEC, "sh", CHROMIUM, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(inside, outside), env={**os.environ, "IN": str(inside), "OUT": str(outside)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(inside)
        os.close(outside)
        self._numbers, self._buffer, self._session, self.events = itertools.count(1), b"", None, []

    def __enter__(self):
        try:
            targets = self.call("Target.getTargets")["targetInfos"]
            page = next(one["targetId"] for one in targets if one["type"] == "page")
            self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the browser and remove its profile."""
        with contextlib.suppress(Exception):
            self._session = None
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def call(self, method, **parameters):
        """Send a command and return its result; events that arrive meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self, seconds):
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], seconds)[0]:
                raise BrowserError(f"The browser has not answered for {seconds} s.")
            read = os.read(self._read, 1 << 20)
            if not read:
                raise BrowserError(f"The browser has ended: {self._process.poll()}.")
            self._buffer += read
        one, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(one)
        if "id" not in message:
            self.events.append(message)
        return message

    def wait_for(self, event, seconds=20):
        """Wait for an event that has not been seen yet."""
        until = time.monotonic() + seconds
        while not any(one["method"] == event for one in self.events):
            self._next(max(0.1, until - time.monotonic()))

    def open(self, page, *, width=1440, height=900, dark=False, fragment=""):
        """Open a page at a size of the window, in light or dark; wait until it is loaded."""
        self.resize(width, height)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="", features=scheme)
        for address in ("about:blank", page.as_uri() + fragment):  # the same page again would only move to the fragment
            self.events.clear()
            self.call("Page.navigate", url=address)
            self.wait_for("Page.loadEventFired")

    def reload(self):
        """Load the page again."""
        self.events.clear()
        self.call("Page.reload")
        self.wait_for("Page.loadEventFired")

    def resize(self, width, height):
        """Change the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )  # fmt: skip

    def run(self, script):
        """Run an expression on the page, await it, and return its value."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in done:
            raise BrowserError(str(done["exceptionDetails"].get("exception", {}).get("description")))
        return done["result"].get("value")

    def until(self, condition, seconds=10):
        """Wait until an expression is true, and return its value.

        Raises:
            BrowserError: it did not become true.
        """
        until = time.monotonic() + seconds
        while not (value := self.run(condition)):
            if time.monotonic() > until:
                raise BrowserError(f"Not true within {seconds} s: {condition}")
            time.sleep(0.03)
        return value

    def press(self, key, modifiers=0):
        """Press a key as a keyboard does."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        common = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text):
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def choose_file(self, selector, path):
        """Choose a file in a file picker."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def screenshot(self):
        """Return what is in the window, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def pdf(self):
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def tasks(self, script):
        """Run a script; return the milliseconds of processor time of each task of the page's main thread meanwhile.

        Processor time, because on a busy machine a task waits for its turn.
        """
        self.events = [one for one in self.events if not one["method"].startswith("Tracing.")]
        self.call("Tracing.start", traceConfig={"includedCategories": ["toplevel"]}, transferMode="ReportEvents")
        self.run(script)
        self.call("Tracing.end")
        self.wait_for("Tracing.tracingComplete")
        seen = [one["params"]["value"] for one in self.events if one["method"] == "Tracing.dataCollected"]
        events = [one for some in seen for one in some]
        threads = [one for one in events if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"]
        main = {one["tid"] for one in threads}
        tasks = [one for one in events if one["name"].endswith("RunTask") and one["tid"] in main]
        return [one["tdur"] / 1000 for one in tasks if "tdur" in one]

    def complaints(self):
        """Return errors of scripts, and what the browser logged as an error, such as breaches of the policy."""
        thrown = [str(one["params"]) for one in self.events if one["method"] == "Runtime.exceptionThrown"]
        logged = [one["params"]["entry"] for one in self.events if one["method"] == "Log.entryAdded"]
        return [*thrown, *(one["text"] for one in logged if one["level"] == "error")]
