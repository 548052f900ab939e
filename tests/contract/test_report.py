"""The report of real training jobs: the page in a browser, the numbers, and faults."""

import contextlib
import dataclasses
import json
import os
import resource
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "src"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_SECONDS = 60

WIDTH = 700

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "batch-size": "8",
    "lr": "0.01",
    "epochs": "3",
}

HOSTILE = "<script>document.title=1</script><img src=x onerror=alert(1)>&quot;.csv"
"""A file's name, and the folder's before it"""


@pytest.fixture(scope="module")
def make_job(make_opt_ml, make_series) -> Callable[..., Any]:
    """Return the function that makes a job's folder: (hyperparameters, n_valid)."""

    def make(n_valid: int = 123, **settings: str) -> Any:
        opt_ml = make_opt_ml()
        opt_ml.write_config("hyperparameters", SETTINGS | settings)
        opt_ml.add_channel("training", {"train.csv": make_series(400)})
        opt_ml.add_channel("validation", {HOSTILE: make_series(n_valid, seed=1)})
        return opt_ml

    return make


@dataclasses.dataclass(frozen=True)
class Visit:
    """What a browser made of a page."""

    complaints: list[str]
    """Messages of the console, exceptions, and what could not be loaded."""
    requests: list[str]
    """What was asked for."""
    seen: dict[str, Any]
    """What :data:`LOOK` returned, in light and dark."""


LOOK = """(() => {
  const box = (element) => element.getBoundingClientRect();
  const end = document.documentElement.clientWidth;
  return {
    title: document.title,
    width: document.documentElement.scrollWidth,
    scripts: document.scripts.length + document.images.length,
    text: document.body.innerText,
    background: getComputedStyle(document.body).backgroundColor,
    pictures: [...document.querySelectorAll("figure > svg")].map((svg) => ({
      size: [box(svg).width, box(svg).height],
      name: svg.querySelector("title").textContent,
      strokes: [...svg.querySelectorAll("path.line")].filter(
        (path) => path.getTotalLength() > 0).length,
      outside: [...svg.querySelectorAll("text")].filter((text) =>
        box(text).left < 0 || box(text).right > end).length,
    })),
  };
})()"""


class Browser:
    """A Chromium that is spoken to over a pipe: JSON messages that end with NUL."""

    def __init__(self, profile: Path, stack: contextlib.ExitStack) -> None:
        program = next(filter(None, map(shutil.which, BROWSERS)), None)
        if program is None:
            pytest.skip("there is no Chromium: apt-get install chromium")
        from_us, to_it = os.pipe()
        self.incoming, to_us = os.pipe()
        self.outgoing = to_it
        command = [program, "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--disable-dev-shm-usage", "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", "about:blank"]
        # It reads from descriptor 3 and writes to 4.
        process = subprocess.Popen(
            ["bash", "-c", f"exec {shlex.join(command)} 3<&{from_us} 4>&{to_us}"],
            pass_fds=(from_us, to_us),
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait, DEADLINE_SECONDS)
        stack.callback(process.kill)
        os.close(from_us)
        os.close(to_us)
        stack.callback(os.close, self.incoming)
        stack.callback(os.close, self.outgoing)
        self.events: list[dict[str, Any]] = []
        self.buffer, self.n_sent, self.session = b"", 0, {}

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command; events that come before it are kept."""
        self.n_sent += 1
        message = {"id": self.n_sent, "method": method, "params": parameters}
        os.write(self.outgoing, json.dumps(message | self.session).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.n_sent:
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, event: str) -> None:
        """Return as soon as an event has come."""
        while not any(known["method"] == event for known in self.events):
            self.events.append(self.next())

    def next(self) -> dict[str, Any]:
        """Return the next message."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            assert select.select([self.incoming], [], [], left)[0], "the browser hangs"
            part = os.read(self.incoming, 2**20)
            assert part, "the browser has ended"
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def look(self, scheme: str) -> dict[str, Any]:
        """Return what is to be seen of the page."""
        scheme_wanted = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[scheme_wanted])
        result = self.call("Runtime.evaluate", expression=LOOK, returnByValue=True)
        return result["result"]["value"]


def visit(page: Path, browser: Browser) -> Visit:
    """Return what a browser makes of a page that it shows 700 pixels wide."""
    target = browser.call("Target.createTarget", url="about:blank")
    attached = browser.call("Target.attachToTarget", flatten=True, **target)
    browser.session = {"sessionId": attached["sessionId"]}
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable")
    size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("Page.loadEventFired")
    seen = {scheme: browser.look(scheme) for scheme in ("light", "dark")}
    complaints = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    complaints |= {"Log.entryAdded", "Network.loadingFailed"}
    return Visit(
        complaints=[str(e) for e in browser.events if e["method"] in complaints],
        requests=[
            event["params"]["request"]["url"]
            for event in browser.events
            if event["method"] == "Network.requestWillBeSent"
        ],
        seen=seen,
    )


def fill_the_disk() -> None:
    """Let no file grow further than the artifacts do: the report's write fails."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))


@pytest.fixture(scope="module")
def jobs(make_job, make_opt_ml, make_series, run_train, tmp_path_factory):
    """Return the folders of jobs of several kinds, and how they ended, by name."""
    broken = tmp_path_factory.mktemp("broken")
    (broken / "jinja2.py").write_text("raise SystemExit(2)")
    alone = make_opt_ml()
    alone.write_config("hyperparameters", SETTINGS | {"epochs": "1"})
    alone.add_channel("training", {"train.csv": make_series(400)[:, :1]})
    blocked = make_job()
    report_of(blocked).mkdir(parents=True)
    folders = {
        "usual": (make_job(), {}),
        "one epoch, one series, no validation": (alone, {}),
        "ten rows of validation": (make_job(10, **{"sequence-length": "9"}), {}),
        "a broken library": (make_job(), {"PYTHONPATH": f"{broken}:{SOURCE}"}),
        "a folder in the way": (blocked, {}),
    }
    with ThreadPoolExecutor(max_workers=2) as pool:
        ends = pool.map(lambda job: run_train(job[0], **job[1]), folders.values())
        return {
            name: (folder, end)
            for (name, (folder, _)), end in zip(folders.items(), ends, strict=True)
        }


def report_of(opt_ml: Any) -> Path:
    """Return where the report of a job is."""
    return opt_ml.base / "output" / "data" / "report.html"


def numbers_of(opt_ml: Any) -> dict[str, Any]:
    """Return the numbers of a job."""
    return json.loads(report_of(opt_ml).with_name("metrics.json").read_text())


def test_a_browser_shows_every_picture_and_has_nothing_to_complain_of(
    jobs, tmp_path: Path
) -> None:
    """At 700 pixels, in light and dark, without a request but the page itself.

    The name of a file is shown and not understood: markup in it is text.
    """
    page = report_of(jobs["usual"][0])

    with contextlib.ExitStack() as stack:
        found = visit(page, Browser(tmp_path / "profile", stack))

    light, dark = found.seen["light"], found.seen["dark"]
    assert found.complaints == []
    assert found.requests == [page.as_uri()]
    assert [picture["name"] for picture in light["pictures"]] == [
        "Loss by epoch",
        "Series, their reconstructions and the score",
        "Rows around the lowest score",
        "Distribution of the scores",
        "Error by the distance from what was read",
        "Errors of the calibration part against the fitted Gaussian",
    ]
    for picture in light["pictures"]:
        width, height = picture["size"]
        assert 600 < width <= WIDTH
        assert height > 150
        assert picture["strokes"] > 0
        assert picture["outside"] == 0
    assert light["width"] <= WIDTH
    assert light["background"] == "rgb(255, 255, 255)"
    assert dark["background"] == "rgb(22, 25, 29)"
    assert HOSTILE in light["text"]
    assert light["scripts"] == 0
    assert light["title"].startswith("LSTM-AD training report: ")


def test_the_numbers_are_those_of_the_log_and_of_the_model(jobs) -> None:
    """One training, three places that speak of it."""
    opt_ml, end = jobs["usual"]
    numbers = numbers_of(opt_ml)
    model = json.loads((opt_ml.model_dir / "model.json").read_text())

    assert end.returncode == 0, end.log
    repeated = {"repeat_last_value": numbers["repeat_last_value"]}
    assert numbers["losses"] | repeated == model["losses"]
    for shared in ("rows", "best_epoch", "hyperparameters"):
        assert numbers[shared] == model[shared]
    assert numbers["threshold"]["value"] == model["decision"]["alarm_threshold"]
    assert f"its verdict is {numbers['verdict']} (reasons: " in end.log


def test_a_report_is_written_whatever_the_job(jobs) -> None:
    """One epoch, one series, no validation channel, or one of ten rows."""
    for name in ("one epoch, one series, no validation", "ten rows of validation"):
        opt_ml, end = jobs[name]

        assert end.returncode == 0, end.log
        assert f"Wrote the report to {report_of(opt_ml).parent}: " in end.log
        assert report_of(opt_ml).stat().st_size > 10_000


def test_the_calibration_part_is_shown_where_there_is_no_validation(jobs) -> None:
    """Its rows are counted as in the file: 320 of 400 rows come before it."""
    opt_ml, _ = jobs["one epoch, one series, no validation"]

    looked_at = numbers_of(opt_ml)["looked_at"]

    assert looked_at["part"] == "calibration"
    assert looked_at["rows"] == 80
    assert looked_at["rows_with_score"] == 70
    assert "file train.csv of the calibration part" in report_of(opt_ml).read_text()


def test_a_report_that_cannot_be_made_does_not_fail_a_job_that_has_its_model(
    jobs, make_job, launch_train
) -> None:
    """The log says what is missing and why, and nothing is left half written.

    A library that ends the process as it is imported, a full disk, and a folder where
    the report would be.
    """
    full = make_job()
    ended = launch_train(full, preexec_fn=fill_the_disk).end()
    for (opt_ml, end), reason in (
        (jobs["a broken library"], "SystemExit: 2"),
        ((full, ended), "OSError: [Errno 27] File too large"),
        (jobs["a folder in the way"], "IsADirectoryError: [Errno 21] "),
    ):
        folder = report_of(opt_ml).parent
        warning = (
            f"The model is complete, but the report cannot be written to {folder}: "
        )
        assert (end.returncode, end.failure) == (0, None), end.log
        assert f"{warning}{reason}" in end.log
        assert "Traceback" in end.log
        assert (opt_ml.model_dir / "model.json").exists()
        assert not report_of(opt_ml).is_file()


def test_a_job_that_was_stopped_has_a_report_that_says_so(
    make_job, launch_train
) -> None:
    """SIGTERM: the model is to be checked, because it has not learnt to the end."""
    opt_ml = make_job(epochs="100000")
    training = launch_train(opt_ml)
    training.wait_for_log("epoch: 3 ")

    training.process.terminate()
    end = training.end()

    numbers = numbers_of(opt_ml)
    findings = [reason["finding"] for reason in numbers["reasons"]]
    n_epochs = len(numbers["history"])
    assert end.returncode == 0, end.log
    assert numbers["verdict"] in ("check", "do not use")
    assert any(
        finding.startswith(f"Training ended after {n_epochs} of 100000 epochs: ")
        for finding in findings
    )
    assert report_of(opt_ml).exists()
