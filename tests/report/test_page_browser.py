"""The report page in a real Chromium, opened from disk without a network: it draws, moves, listens to keys, fits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpot.report.page.render import render
from tests.report.page_fixture import page as made_page

pytest.importorskip("playwright.sync_api", reason="the browser tests need the Python package playwright")
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is on the PATH (Debian: apt-get install chromium)"
)

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
Opener = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # the sandbox cannot start for the superuser, as whom containers run
        arguments = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render(made_page()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Opener]:
    """Opens the page. At the end there must have been no message on the console, no error, and no request."""
    said: list[str] = []
    contexts = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESK, "offline": True, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: said.append(r.url) if not r.url.startswith(("data:", file.as_uri())) else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def pixels(page: Page, canvas: str) -> str:
    return str(page.evaluate(f"document.querySelector('{canvas}').toDataURL()"))


def inked(page: Page, canvas: str) -> int:
    """How many pixels of a canvas are not empty."""
    count = f"""(() => {{ const c = document.querySelector('{canvas}'), copy = document.createElement('canvas');
        copy.width = c.width; copy.height = c.height;
        const context = copy.getContext('2d', {{ willReadFrequently: true }});
        context.drawImage(c, 0, 0);
        const d = context.getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let k = 3; k < d.length; k += 4) n += d[k] > 0; return n; }})()"""
    return int(page.evaluate(count))


def wait(page: Page, condition: str) -> None:
    """Until a condition holds. Playwright's own wait evaluates text inside the page, which its policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


def set_value(page: Page, slider: str, value: float) -> None:
    page.locator(slider).fill(str(value))


def test_the_slider_moves_the_particles(opened: Opener) -> None:
    page = opened()
    start = pixels(page, "#flow-canvas")
    assert page.locator("#flow-cost").inner_text() == "0.000", "the fixture turns points from where they are"
    set_value(page, "#flow-time", 0.5)
    middle = pixels(page, "#flow-canvas")
    assert middle != start and page.locator("#flow-t").inner_text() == "0.50"
    # a turn by 90 degrees moves a point by sqrt(2) of its radius: a cost of 2 E|x|^2, about 4
    set_value(page, "#flow-time", 1)
    assert 3.0 < float(page.locator("#flow-cost").inner_text()) < 5.0
    ends = page.locator("#flow-ends").inner_text().split(" → ")
    assert ends == ["0.000", page.locator("#flow-cost").inner_text()]
    assert page.locator("#flow-count").inner_text() == "299, 1 escaped"
    assert "time 1.00" in str(page.locator("#flow-canvas").get_attribute("aria-label"))
    set_value(page, "#flow-time", 0)
    assert pixels(page, "#flow-canvas") == start, "the same time gives the same picture"


def test_mesh_and_particles_can_be_taken_away(opened: Opener) -> None:
    page = opened()
    both = inked(page, "#flow-canvas")
    page.locator("#flow-mesh").uncheck()
    particles = inked(page, "#flow-canvas")
    page.locator("#flow-dots").uncheck()
    neither = inked(page, "#flow-canvas")
    page.locator("#flow-mesh").check()
    assert 0 < neither < particles < both and inked(page, "#flow-canvas") > neither


def test_play_runs_to_the_end_and_again(opened: Opener) -> None:
    page = opened()
    set_value(page, "#flow-time", 0.9)
    play = page.locator("#flow-play")
    play.click()
    assert play.inner_text() == "Pause" and play.get_attribute("aria-pressed") == "true"
    wait(page, "document.querySelector('#flow-play').textContent === 'Play'")
    assert page.locator("#flow-time").input_value() == "1"
    play.click()
    wait(page, "+document.querySelector('#flow-time').value < 0.9")
    play.click()
    assert play.inner_text() == "Play"


def test_all_of_it_works_from_the_keyboard(opened: Opener) -> None:
    page = opened()
    names = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(e => e && [e.id || e.className || e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        names.append(focused[0])
        assert focused[1] != "none" or focused[0] in ("BODY", "main"), f"{focused[0]} does not show its focus"
    order = ["skip", "theme", "flow-model", "flow-mesh", "flow-play", "flow-time", "trav-item", "trav-value", "zoom"]
    assert [name for name in names if name in order][: len(order)] == order
    page.locator("#flow-time").focus()
    before = pixels(page, "#flow-canvas")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert page.locator("#flow-t").inner_text() == "0.20" and pixels(page, "#flow-canvas") != before
    page.keyboard.press("End")
    assert page.locator("#flow-t").inner_text() == "1.00"
    page.locator("#flow-mesh").focus()
    before = pixels(page, "#flow-canvas")
    page.keyboard.press("Space")
    assert pixels(page, "#flow-canvas") != before
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


def test_traversals_follow_their_slider(opened: Opener) -> None:
    page = opened()
    wait(page, "[...document.querySelectorAll('.big')].filter(c => c.getAttribute('aria-label')).length === 3")
    assert page.locator("#trav-v").inner_text() == "0.00", "it starts in the middle"
    middle = pixels(page, ".big")
    set_value(page, "#trav-value", 4)
    assert pixels(page, ".big") != middle and page.locator("#trav-v").inner_text() == "1.75"
    page.locator("#trav-axis").select_option("2")  # without information: the image stays
    assert "KL 0.01" in page.locator("#trav-axis option").nth(2).inner_text()
    still = pixels(page, ".big")
    set_value(page, "#trav-value", 0)
    assert pixels(page, ".big") == still
    label = str(page.locator(".big").nth(2).get_attribute("aria-label"))
    assert label == "FFJORD+GP, data point 1, coordinate 3 at −1.75"


def test_figures_are_there_and_grow(opened: Opener) -> None:
    page = opened()
    page.locator(".zoom img").scroll_into_view_if_needed()
    wait(page, "[...document.querySelectorAll('.zoom img')].every(i => i.complete && i.naturalWidth > 0)")
    page.locator(".zoom").click()
    assert page.locator("#zoomed").is_visible() and page.locator("#zoomed img").get_attribute("alt")
    page.keyboard.press("Escape")
    assert not page.locator("#zoomed").is_visible()
    assert page.locator("svg.chart").count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(opened: Opener, scheme: str) -> None:
    page = opened(viewport=PHONE, color_scheme=scheme, has_touch=True, is_mobile=True)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    tables = page.locator(".compare, .overview, .bars")
    inner = page.evaluate(
        """[...document.querySelectorAll('.compare, .overview, .bars')].map(
            t => t.parentElement.clientWidth - t.scrollWidth)"""
    )
    assert tables.count() == 3 and min(inner) >= 0, "the tables that matter fit without scrolling"
    small = page.evaluate(
        """[...document.querySelectorAll('button, select')].filter(e => e.offsetParent && e.offsetHeight < 32)
            .map(e => e.id)"""
    )
    assert small == [], "fingers can hit what is to be pressed"


def test_the_system_or_the_reader_chooses_the_scheme(opened: Opener) -> None:
    def ground(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    grounds = ground(light), ground(dark)
    assert grounds == ("rgb(253, 253, 251)", "rgb(20, 23, 27)")
    assert pixels(light, "#flow-canvas") != pixels(dark, "#flow-canvas"), "the mesh has the scheme's colour"
    button = light.locator("#theme")
    chosen = []
    for _ in range(3):
        button.click()
        chosen.append((button.get_attribute("aria-label"), ground(light)))
    assert chosen == [
        ("Theme: light", grounds[0]), ("Theme: dark", grounds[1]), ("Theme: auto", grounds[0])
    ]  # fmt: skip


def test_without_javascript_tables_and_figures_remain(opened: Opener) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator(".compare").is_visible() and page.locator(".zoom img").is_visible()
    assert page.locator("#flow noscript").count() == 1 and not page.locator("#flow-canvas").is_visible()
