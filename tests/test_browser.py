"""What people click through: from a search to its front, to a run, to its audit, in a real browser over MLflow's own interface."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from test_engine_driver import search

from autokd.tracking.read import find_parent
from autokd.tracking.store import open_store, ui_command

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
RED = "fill: rgb(214, 39, 40)"  # FRONT_COLOUR
SECONDS = 60_000  # milliseconds that a page may take on a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed"),
]


@pytest.fixture(scope="module")
def searched(tmp_path_factory, make_store_directory, quick_latency):
    """A finished search: its folder and its result."""
    directory = make_store_directory(tmp_path_factory.mktemp("searched"))
    return directory, search(directory)


@pytest.fixture(scope="module")
def interface(searched):
    """The address of MLflow's interface over it."""
    directory, _ = searched
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments, environment = ui_command(None, directory, port=port)
    process = subprocess.Popen(
        arguments, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _wait_for(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"MLflow's interface does not answer at {url}")


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = browser.new_context(viewport={"width": 1600, "height": 1000}).new_page()
        page.set_default_timeout(SECONDS)
        yield page
        browser.close()


def run_id_of(directory, result, number: int) -> str:
    store = open_store(None, directory, create=False)
    own = f"tags.\"autokd.trial\" = '{number}'"
    (run,) = store.runs(store.experiment_ids(), own, f"tags.\"autokd.study\" = '{result.study}'")
    return run.info.run_id


def click_the_middle(page, point) -> None:
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(700)  # charts answer to a pointer that rests
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_the_searchs_page_names_a_student_to_ship_and_leads_to_its_run_and_its_audit(
    page, searched, interface
):
    directory, result = searched
    page.goto(interface + result.links["run"])
    choice = page.get_by_text("The most accurate").first
    choice.wait_for()
    best = int(result.front["trial"][0])
    # the page's list of child runs has such links too, which open in this tab
    link = page.locator("a[target=_blank]", has_text=f"trial-{best:04d}").first
    with page.context.expect_page() as opened:
        link.click()
    run = opened.value
    run.set_default_timeout(SECONDS)
    run.get_by_role("heading", name=f"trial-{best:04d}").wait_for()
    assert run_id_of(directory, result, best) in run.url
    run.get_by_role("tab", name="Artifacts").or_(
        run.get_by_text("Artifacts", exact=True)
    ).first.click()
    run.get_by_text("audit", exact=True).first.click()
    run.get_by_text("audit.html", exact=True).click()
    heading = run.frame_locator("iframe").locator("h1")
    heading.wait_for()
    assert f"Trial {best}" in heading.inner_text()


def test_a_point_of_the_chart_page_leads_to_its_run(page, searched, interface):
    directory, result = searched
    page.goto(interface + result.links["view"])
    points = page.locator(".scatterlayer path.point")
    points.first.wait_for()
    page.wait_for_timeout(1500)
    complete = [r for r in result.results if r.state == "complete"]
    assert points.count() == len(complete) + 1, "all complete trials, and the teacher"
    links = page.locator("a[href*='/runs/']")
    on_front = {f"trial-{n:04d}" for n in result.front["trial"]}
    assert links.filter(has_text="trial-").first.inner_text() in on_front, "the front comes first"
    before = links.count()
    click_the_middle(page, page.locator(f".scatterlayer path.point[style*='{RED}']").last)
    page.wait_for_function(
        f"document.querySelectorAll(\"a[href*='/runs/']\").length > {before}", timeout=SECONDS
    )
    name = links.last.inner_text()
    assert name in on_front
    with page.context.expect_page() as opened:
        links.last.click()
    opened.value.get_by_role("heading", name=name).wait_for(timeout=SECONDS)
    assert run_id_of(directory, result, int(name.removeprefix("trial-"))) in opened.value.url


def test_a_click_in_the_picture_shows_what_a_point_is_and_where_its_run_is(
    page, searched, interface
):
    directory, result = searched
    parent = find_parent(open_store(None, directory, create=False), result.study).info
    page.goto(
        f"{interface}#/experiments/{parent.experiment_id}/runs/{parent.run_id}"
        "/artifacts/report/pareto.html?workflowType=machine_learning"
    )
    frame = page.frame_locator("iframe")
    points = frame.locator(".scatterlayer path.point")
    points.last.wait_for()
    page.wait_for_timeout(1500)
    click_the_middle(page, points.nth(points.count() - 2))  # the front's; the last is the teacher's
    card = frame.locator("#card")
    card.wait_for()
    best = int(result.front["trial"][0])
    assert card.locator("b").inner_text().startswith(f"trial {best}, complete: resnet")
    assert "of the teacher's" in card.inner_text()
    assert run_id_of(directory, result, best) in card.locator("input").input_value()
    assert frame.locator("text=budget, 60.0k").count() == 1
