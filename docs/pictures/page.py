"""Makes page-*.png: the tab in a real TensorBoard and a real Chromium, on slices of the digits, light and dark.

`python docs/pictures/page.py` makes all of them, `python docs/pictures/page.py linear axis` these views.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Frame, Page, sync_playwright

HERE = Path(__file__).parent
DIGITS = HERE.parent.parent / "checkpoints_examples" / "digits_mlp"
RUNS = ("adam", "sgd")
SLICES = {
    "random_direction_2d": ["random2d", "--grid", "31"],
    "hessian_2d": ["hessian2d", "--grid", "25"],
    "linear_interpolation": ["linear"],
    "axis_parallel": ["axis", "--params-to-slice", "largest:24"],
    "random_direction_1d": ["random1d", "--repeats", "5"],
}
BOTH = '["adam/loss_slicer","sgd/loss_slicer"]'
COMPARED = '[["adam/loss_slicer","random2d",null],["sgd/loss_slicer","random2d",null]]'
# Width and height of the window; other views have the usual one.
SIZES = {"narrow": (400, 800), "difference": (1280, 1650), "cut": (1280, 1200)}
USUAL = (1280, 800)
# Milliseconds.
PATIENCE = 120_000
VIEWS: dict[str, dict[str, str]] = {
    "random": {"method": "random_direction_2d", "scale": "log"},
    "cut": {"method": "random_direction_2d", "scale": "log", "cut": "-0.8,-0.6,0.9,0.7", "significance": "false"},
    "surface": {"method": "random_direction_2d", "scale": "log", "display": "surface"},
    "curvature": {"method": "hessian_2d", "scale": "log"},
    "side-by-side": {"method": "random_direction_2d", "scale": "log", "runs": BOTH, "limits": "all"},
    "difference": {"method": "random_direction_2d", "compared": COMPARED, "comparing": "true"},
    "over-steps": {"method": "random_direction_2d", "display": "steps", "runs": BOTH},
    "linear": {"method": "linear_interpolation", "scale": "log", "range": "full"},
    "overlay": {
        "method": "linear_interpolation",
        "scale": "log",
        "range": "full",
        "runs": BOTH,
        "overlay": "true",
        "smoothing": "1",
    },
    "band": {"method": "random_direction_1d", "ghosts": "false"},
    "axis": {"method": "axis_parallel", "sort": "curvature"},
    "narrow": {"method": "random_direction_2d", "scale": "log"},
}
NUM_STEPS = """async () => {
    const { steps } = await (await fetch('steps?run=adam%2Floss_slicer&tag=linear')).json();
    return steps.length;
}"""
GHOSTS = "count => document.querySelectorAll('[data-testid=ghost]').length === count"
STILL = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const menus = () => window.parent.document.querySelector('.cdk-overlay-container')?.childElementCount ?? 0;
    let before = '';
    for (let same = 0; same < 10; ) {
        await frame();
        const now = document.body.innerHTML + menus();
        same = now === before ? same + 1 : 0;
        before = now;
    }
}"""
SWITCHES = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def main() -> None:
    """Slices all checkpoints of two runs, starts TensorBoard, and saves a picture of each view that was asked for."""
    wanted = sys.argv[1:] or list(VIEWS)
    if unknown := [name for name in wanted if name not in VIEWS]:
        sys.exit(f"no view {', '.join(unknown)}: there are {', '.join(VIEWS)}")
    with tempfile.TemporaryDirectory() as folder:
        for method in dict.fromkeys(VIEWS[name]["method"] for name in wanted):
            _slice(folder, SLICES[method])
        board = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0"]
        with subprocess.Popen(board, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            found = next(match for line in process.stderr if (match := re.search(r" at http://\S+?:(\d+)", line)))
            address = f"http://localhost:{found[1]}"
            try:
                _wait_for_log(address)
                _photograph(address, wanted)
            finally:
                process.terminate()


def _slice(folder: str, method: list[str]) -> None:
    command = [sys.executable, "-m", "loss_slicer", "run", "--quiet", "--logdir", folder, "--method", *method]
    command += ["--module", str(DIGITS / "subject.py")]
    for run in RUNS:
        command += ["--checkpoints", str(DIGITS / run / "checkpoints")]
    subprocess.run(command, check=True)


def _wait_for_log(address: str) -> None:
    """TensorBoard answers before it has read the log: until all that it lists stays the same, with every run."""
    before: dict[str, object] | None = None
    for _ in range(PATIENCE // 1000):
        time.sleep(1)
        with urllib.request.urlopen(f"{address}/data/plugin/loss_slicer/tags") as reply:
            tags = json.load(reply)
        if len(tags) == len(RUNS) and tags == before:
            return
        before = tags
    sys.exit("TensorBoard did not read the log")


def _photograph(address: str, wanted: list[str]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=SWITCHES)
        for name in wanted:
            view = VIEWS[name]
            width, height = SIZES.get(name, USUAL)
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(PATIENCE)
            state = "".join(f"&p.loss_slicer.{key}={quote(value, safe='')}" for key, value in view.items())
            page.goto(f"{address}/#loss_slicer{state}")
            frame = _plugin_frame(page)
            frame.wait_for_selector("[data-testid=plot], [data-testid=tile], [data-testid=surface]")
            frame.wait_for_function("!document.querySelector('[aria-busy=true], [role=status].animate-pulse')")
            if view["method"] == "linear_interpolation":
                # The other steps come after the shown one.
                frame.wait_for_function(GHOSTS, arg=frame.evaluate(NUM_STEPS) - 1)
            # Where one range holds all steps, they come after the shown one, too.
            frame.get_by_text("in this range yet").first.wait_for(state="detached")
            _settle(frame)
            page.screenshot(path=HERE / f"page-{name}-light.png")
            toggle = page.locator("app-header-dark-mode-toggle button")
            if width < USUAL[0] / 2:
                # TensorBoard's own header has no room for its buttons there.
                page.evaluate("document.body.classList.add('dark-mode')")
            else:
                toggle.click()
                page.get_by_role("menuitem", name="Dark").click()
            frame.wait_for_function("document.documentElement.classList.contains('dark')")
            _settle(frame)
            page.screenshot(path=HERE / f"page-{name}-dark.png")
            page.close()
        browser.close()


def _settle(frame: Frame) -> None:
    """Until the page is the same over ten frames: the last that came is drawn, and menus have faded."""
    frame.evaluate(STILL)


def _plugin_frame(page: Page) -> Frame:
    for _ in range(100):
        for frame in page.frames:
            if "plugin_entry" in frame.url:
                return frame
        page.wait_for_timeout(200)
    sys.exit("the tab did not open")


if __name__ == "__main__":
    main()
