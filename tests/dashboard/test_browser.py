"""The dashboard in a real browser: desktop and phone, light and dark, with a screen reader, without a network."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.commands.sweep import sweep
from pipelines.dashboard.build import build_page, export
from tests.support.crm import OPEN, Clock, isolated_crm

pytestmark = [pytest.mark.sample(0), pytest.mark.enable_socket]

DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "make browser installs Chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an account with a deletion and an entity that the key cannot read."""
    clock = Clock()
    clock.now = datetime.now(UTC)
    switches = replace(OPEN, forbidden=frozenset({"products"}))
    with isolated_crm(tmp_path_factory.mktemp("dashboard"), 0.1, switches=switches, clock=clock) as crm:
        crm.sync("core")
        crm.sandbox.store.delete("contacts", crm.sandbox.store.tables["contacts"].keys[0])
        target = crm.target
        sweep(crm.settings(), target, ["contacts"])
        shown = build_page(target, timedelta(days=1))
        shown = replace(shown, deal_url="https://crm.na1.insightly.com/details/Opportunity/")
        export(shown, crm.folder / "page.html")
    return crm.folder / "page.html"


@pytest.fixture(
    params=[(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=lambda each: f"{each[0]['width']}-{each[1]}",
)
def page(browser: Browser, exported: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    viewport, scheme = request.param
    context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True)
    opened = context.new_page()
    requested: list[str] = []
    opened.on("request", lambda request: requested.append(request.url))
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.goto(exported.as_uri())
    assert requested == [exported.as_uri()]
    assert problems == []
    yield opened
    context.close()


def test_page_is_accessible_to_a_screen_reader(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_page_fits_the_screen_and_shows_figures_and_charts(page: Page) -> None:
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_role("heading", level=1).inner_text() == "Sandbox Trading"
    for title in ("Pipeline and wins", "Won and expected by month", "To do", "Open deals by stage", "By owner"):
        assert page.get_by_role("heading", name=title, exact=True).first.is_visible()
    assert page.locator("dt", has_text="Open pipeline").count() == 2  # two currencies
    columns = page.locator(".columns i").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().height)")
    assert max(columns) > 100
    if width > PHONE["width"]:
        longest = page.locator(".bars .bar").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
        assert max(longest) > 20
    shot = page.screenshot(full_page=True)
    assert len(shot) > 20_000


def test_charts_are_tables_with_names_and_headings(page: Page) -> None:
    snapshot = page.locator("#funnel").locator("..").aria_snapshot()
    assert "rowheader" in snapshot
    assert "columnheader" in snapshot
    page.get_by_text("EUR by month, as a table").click()
    months = page.locator("figure", has_text="EUR").get_by_role("table")
    assert months.get_by_role("row").count() == 16
    names = page.locator("section.list").first.get_by_role("link")
    assert (names.first.get_attribute("href") or "").startswith("https://crm.na1.insightly.com/details/Opportunity/4")


def test_health_is_one_line_that_opens(page: Page) -> None:
    entities = page.get_by_role("heading", name="Freshness and rows")
    assert not entities.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    page.keyboard.press("Tab")
    assert "Every table is up to date." in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert entities.is_visible()
    assert page.get_by_text("1 not readable with this key").is_visible()
    assert page.get_by_role("table", name="Calls per day").get_by_role("row").count() >= 2
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-labelledby')") == "entities"
    assert page.evaluate("document.documentElement.scrollWidth") <= (page.viewport_size or DESKTOP)["width"]
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
