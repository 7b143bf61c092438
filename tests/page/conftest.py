"""A real TensorBoard, a real Chromium, and the page in its tab; whatever goes wrong in the browser fails the test."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

import tensorboard_loss_slicer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, ConsoleMessage, Frame, Locator, Page

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 60
# What TensorBoard's page loads into the frame of a plugin.
FRAME = "data/plugin_entry.html?name=loss_slicer"
# Nothing is being loaded, and what the page leaves for later (the controls, the values of contour lines) is drawn:
# React does that as soon as the browser has nothing else to do, in tasks that go before any idle callback.
SETTLED = """async () => {
    const idle = () => new Promise((resolve) => requestIdleCallback(resolve));
    const rests = () => new Promise((resolve) => {
        const done = async () => {
            const before = changes;
            await idle();
            if (changes !== before) return;
            observer.disconnect();
            resolve();
        };
        let changes = 0;
        let timer = setTimeout(done, 50);
        const observer = new MutationObserver(() => {
            changes += 1;
            clearTimeout(timer);
            timer = setTimeout(done, 50);
        });
        observer.observe(document.body, { attributes: true, characterData: true, childList: true, subtree: true });
    });
    const loading = () => [...document.querySelectorAll("[role=status]")].some((status) => (
        status.textContent.startsWith("Loading")
    ));
    const begun = performance.now();
    do await rests(); while (loading() && performance.now() - begun < 30_000);
    return !loading();
}"""
VIOLATION = "policy violation"
REPORT_VIOLATIONS = f"""
document.addEventListener("securitypolicyviolation", (event) => {{
    if (location.href.includes("plugin_entry") || location.protocol === "file:") {{
        console.error("{VIOLATION}: " + event.violatedDirective + " " + event.blockedURI);
    }}
}});
"""


def _module(name: str) -> Any:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"page_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_log() -> Any:
    """The module that writes the logs."""
    return _module("make_log")


@pytest.fixture(scope="session")
def make_damaged_log() -> Any:
    """The module that writes logs with slices that can't be read."""
    return _module("make_damaged_log")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A running TensorBoard and the log that it shows."""

    url: str
    logdir: Path


@dataclass(kw_only=True)
class Tab:
    """The plugin's tab: TensorBoard's page, the plugin's frame (or that alone), and the browser's complaints."""

    page: Page
    frame: Frame
    problems: list[str] = field(default_factory=list)

    def card(self, tag: str) -> Locator:
        """The card of a tag."""
        return self.frame.locator(f'[data-testid="slice-card"][aria-label^="{tag},"]')

    def hover(self, target: Locator, across: float, down: float) -> None:
        """Put the pointer at a share of the element's width and height."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])

    def readout(self) -> dict[str, str]:
        """Label -> value of what the plot says beside the pointer."""
        box = self.frame.get_by_test_id("readout")
        return dict(zip(box.locator("dt").all_inner_texts(), box.locator("dd").all_inner_texts(), strict=True))

    def save(self, choice: str) -> None:
        """Choose from the menu that saves a card's picture."""
        self.frame.get_by_label("Save the picture").first.click()
        self.frame.get_by_role("menuitem", name=choice).click()

    @property
    def hash(self) -> str:
        """The address after its `#`."""
        return self.page.evaluate("location.hash")


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A reader's profile in Chromium, where what was compiled of TensorBoard's page stays for the next test.

    A machine without Chromium fails, unless SKIP_BROWSER=1 asks for a skip outside CI.
    """
    missing = [
        what
        for what, there in (
            ("the Python package playwright", importlib.util.find_spec("playwright") is not None),
            (f"a Chromium at {CHROMIUM} (set CHROMIUM to another path)", shutil.which(CHROMIUM) is not None),
            (
                "the built page (run `python hatch_build.py`)",
                (Path(tensorboard_loss_slicer.__file__).parent / "static" / "index.js").is_file(),
            ),
        )
        if not there
    ]
    if missing:
        message = f"the page's tests need {' and '.join(missing)}"
        if os.environ.get("SKIP_BROWSER") == "1" and not os.environ.get("CI"):
            pytest.skip(message)
        pytest.fail(f"{message}; SKIP_BROWSER=1 skips them where CI is not set")
    from playwright.sync_api import sync_playwright

    folder = str(tmp_path_factory.mktemp("profile"))
    with sync_playwright() as playwright:
        made = playwright.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, headless=True, args=SWITCHES, accept_downloads=True
        )
        yield made
        made.close()


@pytest.fixture
def browser(profile: BrowserContext) -> Iterator[BrowserContext]:
    """The profile, as if its reader had left nothing there."""
    blank = profile.pages[0]
    origins: set[str] = set()

    def note_origins(page: Page) -> None:
        page.on("framenavigated", lambda frame: origins.add(_origin(frame.url)))

    profile.on("page", note_origins)
    yield profile
    profile.remove_listener("page", note_origins)
    for page in profile.pages:
        if page is not blank:
            page.close()
    session = profile.new_cdp_session(blank)
    for origin in origins:
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage,indexeddb"})
    session.detach()
    profile.clear_cookies()
    profile.clear_permissions()


def _origin(url: str) -> str:
    """`http://localhost:6006`; of a file, `file://`."""
    return "/".join(url.split("/", 3)[:3])


@pytest.fixture(scope="module")
def start_lasting_board(tmp_path_factory: pytest.TempPathFactory, wheel_python: Path) -> Iterator[Callable[..., Board]]:
    """Starts a TensorBoard of an environment with the built wheel on a log directory, for the tests of a file."""
    with _boards(tmp_path_factory, wheel_python) as start:
        yield start


@pytest.fixture
def start_board(tmp_path_factory: pytest.TempPathFactory, wheel_python: Path) -> Iterator[Callable[..., Board]]:
    """The same for one test: one that runs reads its log again and again."""
    with _boards(tmp_path_factory, wheel_python) as start:
        yield start


@contextmanager
def _boards(tmp_path_factory: pytest.TempPathFactory, wheel_python: Path) -> Iterator[Callable[..., Board]]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(logdir: Path, *options: str, prefix: str = "", wait_seconds: float = START_SECONDS) -> Board:
        output = tmp_path_factory.mktemp("board") / "output.txt"
        command = [str(wheel_python), "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0", *options]
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [*command, *(["--path_prefix", prefix] if prefix else [])], stdout=stream, stderr=stream
            )
        processes.append(process)
        deadline = time.monotonic() + wait_seconds
        while time.monotonic() < deadline:
            found = re.search(r"TensorBoard \S+ at http://[^:]+:(\d+)", output.read_text())
            if found:
                board = Board(url=f"http://localhost:{found[1]}{prefix}", logdir=logdir)
                _wait_for_data(board, deadline)
                return board
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"TensorBoard did not start:\n{output.read_text()}")

    try:
        yield start
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


def _wait_for_data(board: Board, deadline: float) -> None:
    """TensorBoard answers before it has read the log."""
    wanted = sum(1 for _ in board.logdir.rglob("*tfevents*"))
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{board.url}/data/plugin/loss_slicer/tags") as reply:
                if reply.read().count(b'"last_step"') >= wanted:
                    return
        except urllib.error.URLError:
            pass
        time.sleep(0.2)
    raise AssertionError("TensorBoard did not read the log")


@pytest.fixture(scope="session")
def board(make_log: Any, tmp_path_factory: pytest.TempPathFactory, wheel_python: Path) -> Iterator[Board]:
    """TensorBoard on all the logs of `make_log`."""
    logdir = tmp_path_factory.mktemp("log")
    for write in make_log.LOGS.values():
        write(logdir)
    with _boards(tmp_path_factory, wheel_python) as start:
        yield start(logdir)


@pytest.fixture
def open_document(browser: BrowserContext, start_board: Callable[..., Board]) -> Iterator[Callable[..., Tab]]:
    """Opens an address with a view (keys as in the address). What the browser reports fails the test.

    `start_board` is asked for so that it ends later: a page that is open would miss its TensorBoard.
    """
    tabs: list[Tab] = []

    def open_(
        address: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        wait: str = "[data-testid=plot], [data-testid=tile]",
        keys: str = "",
        script: str = "",
        **view: str,
    ) -> Tab:
        page = browser.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if dark else "light")
        page.add_init_script(REPORT_VIOLATIONS)
        if script:
            page.add_init_script(script)
        problems: list[str] = []
        page.on("console", lambda message: problems.extend(_complaints(message)))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.extend(_foreign(request.url, address)))
        state = "".join(f"&p.loss_slicer.{key}={quote(value, safe='')}" for key, value in view.items())
        page.goto(f"{address}#loss_slicer{keys}{state}")
        frame = plugin_frame(page) if address.endswith("/") else page.main_frame
        tab = Tab(page=page, frame=frame, problems=problems)
        if wait:
            tab.frame.wait_for_selector(wait)
            _settle(tab)
        tabs.append(tab)
        return tab

    yield open_
    for tab in tabs:
        tab.page.close()
    assert [problem for tab in tabs for problem in tab.problems] == []


def _settle(tab: Tab) -> None:
    assert tab.frame.evaluate(SETTLED), "something was still loading after 30 seconds"


@pytest.fixture(scope="session")
def settle() -> Callable[[Tab], None]:
    """Waits until the page has drawn all that it has begun."""
    return _settle


@pytest.fixture
def open_tab(open_document: Callable[..., Tab]) -> Callable[..., Tab]:
    """Opens TensorBoard's page of a board, with the plugin in its frame."""

    def open_(board: Board, **options: Any) -> Tab:
        return open_document(f"{board.url}/", **options)

    return open_


@pytest.fixture
def open_page(open_document: Callable[..., Tab]) -> Callable[..., Tab]:
    """Opens what TensorBoard gives the frame of a board, without TensorBoard's page around it, which takes longer to
    load than all that is in the frame; or a file. Its own address stands in for TensorBoard's."""

    def open_(board: Board | Path, **options: Any) -> Tab:
        address = board.as_uri() if isinstance(board, Path) else f"{board.url}/{FRAME}"
        return open_document(address, **options)

    return open_


@pytest.fixture(scope="session")
def find_frame() -> Callable[[Page], Frame]:
    """The plugin's own frame of a page."""
    return plugin_frame


def plugin_frame(page: Page) -> Frame:
    """The plugin's own frame, once it has its document."""
    handle = page.wait_for_selector("iframe[src*=plugin_entry], iframe", state="attached")
    assert handle is not None
    for _ in range(300):
        for frame in page.frames:
            if "plugin_entry" in frame.url:
                return frame
        page.wait_for_timeout(100)
    raise AssertionError(f"no plugin frame among {[frame.url for frame in page.frames]}")


def _complaints(message: ConsoleMessage) -> list[str]:
    url = message.location.get("url", "")
    # Below a path prefix TensorBoard asks for its own fonts at the wrong place. For a document that names no icon, as
    # the frame's, the browser asks at a place where TensorBoard has none.
    if message.type != "error" or "/font-roboto/" in url or url.endswith("/favicon.ico"):
        return []
    return [f"{message.text} ({url})"]


def _foreign(url: str, ours: str) -> list[str]:
    if ours.startswith("file:"):
        return [] if url.startswith((ours, "data:", "blob:", "about:")) else [f"request to {url}"]
    same = url.startswith((ours.split("/", 3)[0] + "//" + ours.split("/", 3)[2], "data:", "blob:", "about:"))
    return [] if same else [f"request to {url}"]
