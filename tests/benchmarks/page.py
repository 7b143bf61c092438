"""How quick the page is: medians over a TensorBoard on this machine and a headless Chromium, beside what is wanted.

`make bench-page`, or `python tests/benchmarks/page.py [--repeats N]`. Software rendering; nothing is a timed test.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Frame, Page, sync_playwright

import tensorboard_loss_slicer
from machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

SWITCHES = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
STATIC = Path(tensorboard_loss_slicer.__file__).parent / "static"
STEPS = 500

# In the plugin's frame: the time of the first frame after contour lines were painted, since its script started.
FIRST_CONTOUR = """
(() => {
    if (!location.href.includes('plugin_entry')) return;
    const painted = new Set();
    const stroke = CanvasRenderingContext2D.prototype.stroke;
    CanvasRenderingContext2D.prototype.stroke = function (...path) {
        if (!painted.has('contour')) {
            painted.add('contour');
            requestAnimationFrame(() => setTimeout(() => { window.firstContour = performance.now(); }));
        }
        window.strokes = (window.strokes ?? 0) + 1;
        return stroke.apply(this, path);
    };
})();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(", ".join(f"{name} {value}" for name, value in this_machine("cpu", tuned=False).describe().items()))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        logdir = Path(folder)
        _write_logs(logdir)
        with _tensorboard(logdir) as address:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=SWITCHES)
            print(f"Chromium {browser.version}, medians of {repeats}\n")
            _row("script before a 3-D view, gzip", _script_bytes() / 1000, "kB", 350)
            for run, limit in (("grid101", 400), ("grid501", 1200)):
                times = [_first_contour(browser, address, run) for _ in range(repeats)]
                _row(f"first contour, {run[4:]}×{run[4:]}", statistics.median(times), "ms", limit)
            steps, held = _step_changes(browser, address)
            _row("step change, 101×101, data cached", statistics.median(steps), "ms", 50)
            _row(f"growth of memory over {STEPS} step changes, data cached", held[-1] - held[0], "MB", 32)
            _row(f"private memory of the renderer with {STEPS} slices", held[0], "MB")
            frames = _scroll(browser, address)
            _row("longest frame while 300 small multiples scroll", max(frames), "ms", 100)
            browser.close()


def _row(what: str, value: float, unit: str, limit: float | None = None) -> None:
    wanted = "" if limit is None else f"wanted ≤ {limit:6.0f}  {'' if value <= limit else 'MISSED'}"
    print(f"{what:55} {value:8.1f} {unit:3} {wanted}", flush=True)


def _write_logs(logdir: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "page"))
    make_log: Any = importlib.import_module("make_log")
    for size, steps in ((101, STEPS), (501, 1)):
        entries = ((f"grid{size}", step, make_log.grid(step, (size, size)), "") for step in range(steps))
        make_log.write_run(logdir, f"grid{size}", entries)
    make_log.write_run(logdir, "curves", [("curves", 0, make_log.family(0, 300), "")])


@contextlib.contextmanager
def _tensorboard(logdir: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = next(match for line in process.stderr if (match := re.search(r" at http://\S+?:(\d+)", line)))
        address = f"http://localhost:{found[1]}"
        query = f"{address}/data/plugin/loss_slicer/tags"
        for _ in range(600):
            with urllib.request.urlopen(query) as reply:
                runs = json.load(reply)
            if len(runs) == 3 and runs["grid101"]["grid101"]["last_step"] == STEPS - 1:
                break
            time.sleep(0.5)
        time.sleep(2)
        yield address
        process.terminate()


def _script_bytes() -> int:
    """The entry, and every chunk and worker that it does not load on demand."""
    text = (STATIC / "index.js").read_text()
    eager = set(re.findall(r'from\s*"\./([^"]+\.js)"', text))
    return sum(len(gzip.compress((STATIC / name).read_bytes(), 9)) for name in {"index.js", *eager})


def _open(browser: Browser, address: str, run: str, **view: str) -> tuple[Page, Frame]:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(FIRST_CONTOUR)
    keys = {"runs": json.dumps([run]), **view}
    page.goto(address + "/#loss_slicer" + "".join(f"&p.loss_slicer.{key}={value}" for key, value in keys.items()))
    for _ in range(300):
        frame = next((frame for frame in page.frames if "plugin_entry" in frame.url), None)
        if frame is not None:
            return page, frame
        page.wait_for_timeout(50)
    sys.exit("the tab did not open")


def _first_contour(browser: Browser, address: str, run: str) -> float:
    page, frame = _open(browser, address, run)
    frame.wait_for_function("window.firstContour !== undefined", timeout=60_000)
    start = "performance.getEntriesByType('resource').find(entry => entry.name.includes('index.js')).startTime"
    elapsed = frame.evaluate(f"window.firstContour - {start}")
    page.context.close()
    return elapsed


def _step_changes(browser: Browser, address: str) -> tuple[list[float], list[float]]:
    """Milliseconds from a press to the frame with the new contours; MB held with all slices, before and after."""
    page, frame = _open(browser, address, "grid101", step="0")
    frame.wait_for_function("window.firstContour !== undefined")
    # The toolbar and the list of steps come after the first slice.
    frame.wait_for_function("document.querySelector('[aria-label=\"Next step\"]')?.disabled === false")
    session = page.context.new_cdp_session(page)
    change = """async (label) => {
        const button = document.querySelector(`[aria-label="${label}"]`);
        const frames = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        const before = window.strokes, start = performance.now();
        button.click();
        while (window.strokes === before) await frames();
        return performance.now() - start;
    }"""
    held: list[float] = []
    times: list[float] = []
    for _ in range(1, STEPS):
        frame.evaluate(change, "Next step")
    # Their arrays, some 80 MB, are in the cache, which holds 256 MB at most: what grows from here on is a leak.
    for label in ("Previous step", "Next step"):
        session.send("HeapProfiler.collectGarbage")
        held.append(_memory(browser))
        times += [frame.evaluate(change, label) for _ in range(STEPS // 2)]
    session.send("HeapProfiler.collectGarbage")
    held.append(_memory(browser))
    page.context.close()
    return times, held


def _memory(browser: Browser) -> float:
    """MB of private memory of the renderer that has most: the heap, typed arrays, pictures."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    held = []
    for process in processes:
        if process["type"] == "renderer":
            status = Path(f"/proc/{process['id']}/status").read_text()
            held += [int(size) / 1000 for size in re.findall(r"RssAnon:\s+(\d+)", status)]
    return max(held)


def _scroll(browser: Browser, address: str) -> list[float]:
    """Milliseconds of each frame while the page is scrolled by a wheel."""
    page, frame = _open(browser, address, "curves", method="axis_parallel")
    frame.wait_for_selector("[data-testid=tile]")
    page.wait_for_timeout(1000)
    frame.evaluate("""() => {
        window.times = [];
        let last = performance.now();
        const tick = (now) => { window.times.push(now - last); last = now; requestAnimationFrame(tick); };
        requestAnimationFrame(tick);
    }""")
    page.mouse.move(800, 500)
    for direction in (1, -1):
        for _ in range(60):
            page.mouse.wheel(0, 120 * direction)
            page.wait_for_timeout(16)
    frames = frame.evaluate("window.times.slice(2)")
    page.context.close()
    return frames


if __name__ == "__main__":
    main()
