"""Deterministic data for an account: the same seed, scale and time give the same bytes."""

import gc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pipelines.sandbox.store.shapes import LINK_NAMES, Key, Record, blank, definition, key_of
from pipelines.sandbox.store.store import Contents
from pipelines.sandbox.store.table import dump

from . import deals, marketing, people, sales, service_desk, site_visits, teams
from .child_rows import child_rows
from .people import SOURCE_BASE, STATUS_BASE
from .reference import (
    CATEGORIES,
    CATEGORY_IDS,
    COUNTRIES,
    CURRENCIES,
    CUSTOM_FIELDS,
    LEAD_SOURCES,
    LEAD_STATUSES,
    PIPELINES,
    RELATIONSHIPS,
    STATE_REASONS,
)
from .story import STAGES, Story
from .words import TAGS

SEED_NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""When the generated history ends; fixed, so that the data are the same on every day."""

_WRITERS: tuple[Callable[[Story], Iterator[Record]], ...] = (
    people.users, deals.products, people.organisations, people.contacts, people.leads,
    deals.opportunities, deals.projects, deals.tasks, deals.events, deals.notes,
    sales.pricebooks, sales.pricebook_entries, sales.opportunity_line_items, sales.quotes, sales.quote_line_items,
    marketing.emails, marketing.document_templates, marketing.prospects, marketing.marketing_visits,
    service_desk.tickets, service_desk.knowledge_article_categories, service_desk.knowledge_article_folders,
    service_desk.knowledge_articles, service_desk.forum_categories, service_desk.community_forums,
    service_desk.community_posts, service_desk.community_comments,
    teams.teams, teams.team_members, teams.activity_sets, teams.milestones, teams.follows,
)  # fmt: skip
"""One function an entity, with its name. Their order is that of the random draws: add new ones at the end."""


def generate(seed: int = 1, scale: float = 1, now: datetime = SEED_NOW) -> Contents:
    """An account with a history of three years that ends at `now`.

    Args:
        seed: any integer; another seed gives other people, deals and dates.
        scale: 1 = 1,000 contacts, 400 organisations, 600 leads, 500 opportunities, 200 projects, 1,500 tasks,
            800 events, 1,000 notes, 40 products, 12 users, 120 site visits, 80 warranties, and some 3,000 records
            around them; other scales in proportion, never less than one of each. The fixed lists do not grow.
        now: an aware datetime.
    """
    collecting = gc.isenabled()
    # No object is part of a cycle, and collecting garbage among millions of new ones doubles the time.
    gc.disable()
    try:
        return _write(Story(seed, scale, now))
    finally:
        if collecting:
            gc.enable()


def _write(story: Story) -> Contents:
    tables = {entity: _table(entity, rows) for entity, rows in _fixed().items()}
    for writer in _WRITERS:
        tables[writer.__name__] = _table(writer.__name__, _with_tags_and_links(writer, story))
    tables["custom_objects"] = _table("custom_objects", site_visits.object_definitions(story))
    for name in site_visits.OBJECTS:
        tables[name] = _table(name, site_visits.object_records(name, story))
    return Contents(
        tables=tables,
        definitions=_definitions(),
        history=deals.history(story),
        child_rows=child_rows(tables, story.rng),
    )


def _with_tags_and_links(writer: Callable[[Story], Iterator[Record]], story: Story) -> Iterator[Record]:
    entity = writer.__name__
    for number, record in enumerate(writer(story)):
        if entity in TAGS:
            record["TAGS"] = _tags(entity, story.rng.random())
        if entity in LINK_NAMES:
            record["LINKS"] = story.links_of(entity, number)
        yield record


def _tags(entity: str, draw: float) -> list[Record]:
    """None to two tags of the entity, by a random number from 0 to 1."""
    words = TAGS[entity]
    first = int(draw * 977) % len(words)
    count = 0 if draw < 0.5 else 1 if draw < 0.85 else 2
    return [{"TAG_NAME": words[first - index]} for index in range(count)]


def _table(entity: str, rows: Iterable[Record]) -> dict[Key, bytes]:
    return {key_of(entity, row): dump(row) for row in rows}


def _definitions() -> list[Record]:
    made: list[Record] = []
    for field_for, name, kind, options, join in CUSTOM_FIELDS + site_visits.FIELDS:
        order = 1 + sum(row["FIELD_FOR"] == field_for for row in made)
        made.append(definition(field_for, name, kind, order, options=options, join=join))
    return made


def _fixed() -> dict[str, list[Record]]:
    """The lists that no seed changes."""
    lists: dict[str, tuple[str, Iterable[Iterable[Any]]]] = {
        "countries": ("COUNTRY_NAME", ((name,) for name in COUNTRIES)),
        "currencies": ("CURRENCY_CODE CURRENCY_SYMBOL", CURRENCIES.items()),
        "lead_sources": (
            "LEAD_SOURCE_ID LEAD_SOURCE DEFAULT_VALUE FIELD_ORDER",
            ((SOURCE_BASE + n, name, n == 0, n + 1) for n, name in enumerate(LEAD_SOURCES)),
        ),
        "lead_statuses": (
            "LEAD_STATUS_ID LEAD_STATUS DEFAULT_STATUS STATUS_TYPE FIELD_ORDER",
            ((STATUS_BASE + n, name, n == 0, kind, n + 1) for n, (name, kind) in enumerate(LEAD_STATUSES)),
        ),
        "pipelines": (
            "PIPELINE_ID PIPELINE_NAME FOR_OPPORTUNITIES FOR_PROJECTS",
            ((501 + n, *facts) for n, (*facts, _) in enumerate(PIPELINES)),
        ),
        "pipeline_stages": ("STAGE_ID PIPELINE_ID STAGE_NAME STAGE_ORDER", STAGES),
        "opportunity_state_reasons": (
            "STATE_REASON_ID FOR_OPPORTUNITY_STATE STATE_REASON",
            ((901 + n, *reason) for n, reason in enumerate(STATE_REASONS)),
        ),
        "relationships": (
            "RELATIONSHIP_ID FORWARD FORWARD_TITLE REVERSE REVERSE_TITLE FOR_CONTACTS FOR_ORGANISATIONS",
            ((951 + n, to, to, back, back, n == 0, n == 1) for n, (to, back) in enumerate(RELATIONSHIPS)),
        ),
    }
    for entity, names in CATEGORIES.items():
        first = CATEGORY_IDS[entity]
        rows = [(first + n, name, True, f"{n + 3}A7FB5") for n, name in enumerate(names)]
        lists[entity] = "CATEGORY_ID CATEGORY_NAME ACTIVE BACKGROUND_COLOR", rows
    return {
        entity: [blank(entity) | dict(zip(names.split(), row, strict=True)) for row in rows]
        for entity, (names, rows) in lists.items()
    }
