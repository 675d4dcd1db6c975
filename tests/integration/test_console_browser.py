"""The console in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from overseen import overseen
from published import NOW
from served import TOKEN, Fragile, serving

from headrace.batch.promote import challenge
from headrace.config import load
from headrace.errors import StoreUnavailable
from headrace.serving.api import create_app
from headrace.serving.shadow import shadow
from headrace.stores.reports import Report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "<img src=x onerror=alert(1)>"
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed; on Debian: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def fragile() -> Fragile:
    store = overseen()
    challenge(store, "segments", 4)
    store.add_report("segments", shadow(store, "segments", now=NOW).to_report(NOW - timedelta(minutes=5)))
    store.add_report("segments", Report("verify", NOW + timedelta(seconds=1), 3, False, HOSTILE, {"checked": 3}))
    return Fragile(store)


@pytest.fixture(scope="module")
def url(fragile: Fragile) -> Iterator[str]:
    settings = load(["serve.require_token=true", "serve.watch_s=0.1"], "local")
    with serving(create_app(settings, fragile, lambda: NOW, TOKEN)) as address:
        yield address


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """A page that must ask nobody else, break no policy and raise nothing. As wide as a desktop's, or as said."""
    width, height = SIZES[getattr(request, "param", "desktop")]
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("dialog", lambda dialog: faults.append(dialog.message))
    opened.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    opened.on("request", lambda asked: None if asked.url.startswith(url) else faults.append(asked.url))
    opened.goto(url)
    yield opened
    context.close()
    assert faults == []


on_every_screen = pytest.mark.parametrize("page", SIZES, indirect=True)


def enter(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Open").click()


def text_of(page: Page, selector: str) -> str:
    found: str = page.locator(selector).inner_text()
    return found


def fits(page: Page) -> bool:
    """Whether the page scrolls down only."""
    measured: Any = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return bool(measured)


def test_the_token_stays_in_the_tab_and_out_of_the_address(page: Page) -> None:
    enter(page, "guess")
    page.get_by_text("The server refuses this token.").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    enter(page)
    page.get_by_role("heading", name="segments").or_(page.get_by_role("heading", name="plain")).first.wait_for()
    assert TOKEN not in page.url
    assert page.evaluate("sessionStorage.getItem('headrace.token')") == TOKEN
    assert page.evaluate("document.cookie + localStorage.length") == "0"
    page.get_by_role("button", name="Forget token").click()
    assert page.locator("#token-form").is_visible()
    assert page.evaluate("sessionStorage.length") == 0


@on_every_screen
def test_a_definition_from_alias_to_proof(page: Page) -> None:
    enter(page)
    page.get_by_role("button", name="segments").click()
    page.get_by_role("heading", name="segments").wait_for()
    page.locator("#generations tbody tr").nth(3).wait_for()
    tiles = text_of(page, "#tiles")
    for words in ("g 3", "2 s", "max_age 2 min", "records not counted", "65"):
        assert words in tiles
    rows = page.locator("#generations tbody tr").all_inner_texts()
    assert [row.split()[2] for row in rows] == ["challenger", "champion", "skipped", "former"]
    assert "2.5 too much" in rows[0]
    page.locator("#freshness svg").wait_for()
    page.get_by_text("generation 3, the champion").click()
    assert "quantity is no number" in text_of(page, "#runs")
    assert HOSTILE in text_of(page, "#evidence")
    page.get_by_text("1 of 2 predictions differ").click()
    page.get_by_label("Differences by output").wait_for()
    assert "purchases" in text_of(page, "#head")
    assert "4bM2kqQv / 0" in text_of(page, "#positions")
    assert fits(page)


@on_every_screen
def test_a_look_up_is_explained(page: Page) -> None:
    enter(page)
    page.get_by_role("button", name="segments").click()
    page.get_by_label("customer_id").fill("17850")
    page.get_by_role("button", name="Explain").click()
    page.get_by_text("The speed layer answers").wait_for()
    assert "Champions" in text_of(page, "#lookup")
    assert text_of(page, ".steps .taken").startswith("speed g 3")
    assert page.locator(".steps li").count() == 5
    assert "17850" not in page.url
    page.get_by_label("customer_id").fill(HOSTILE)
    page.get_by_role("button", name="Explain").click()
    page.get_by_text("No item is held of this entity").wait_for()
    assert fits(page)


def test_a_store_that_is_down_is_said_and_what_was_there_stays(page: Page, fragile: Fragile) -> None:
    enter(page)
    page.get_by_role("button", name="segments").click()
    page.locator("#generations tbody tr").nth(3).wait_for()
    fragile.error = StoreUnavailable("down")
    try:
        page.get_by_label("customer_id").fill("13047")
        page.get_by_role("button", name="Explain").click()
        page.get_by_text("the serving store does not answer").first.wait_for()
        assert page.locator("#generations tbody tr").count() == 4
    finally:
        fragile.error = None
    page.get_by_role("button", name="Explain").click()
    page.get_by_text("The batch layer answers, by version 1").wait_for()


def test_every_field_has_a_label_and_every_table_a_name(page: Page) -> None:
    enter(page)
    page.get_by_role("button", name="segments").click()
    page.locator("#generations tbody tr").nth(3).wait_for()
    nameless = """() => [...document.querySelectorAll('input, table, svg[role], section.scroll')].filter(
        (one) => !(one.labels?.length || one.getAttribute('aria-label'))).map((one) => one.outerHTML)"""
    assert page.evaluate(nameless) == []
    assert page.evaluate("document.documentElement.lang") == "en"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
