"""Deterministic data for an account: the same seed, scale and moment give the same bytes."""

import gc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from pipelines.sandbox.store.shapes import Key, Record, blank, definition, key_of
from pipelines.sandbox.store.store import Contents
from pipelines.sandbox.store.table import dump

from .child_rows import child_rows
from .deals import events, history, notes, opportunities, products, projects, tasks
from .marketing import document_templates, emails, marketing_visits, prospects
from .people import SOURCE_BASE, STATUS_BASE, contacts, leads, organisations, users
from .reference import (
    CATEGORIES,
    COUNTRIES,
    CURRENCIES,
    CUSTOM_FIELDS,
    LEAD_SOURCES,
    LEAD_STATUSES,
    PIPELINES,
    RELATIONSHIPS,
    STATE_REASONS,
)
from .sales import opportunity_line_items, pricebook_entries, pricebooks, quote_line_items, quotes
from .service_desk import (
    community_comments,
    community_forums,
    community_posts,
    forum_categories,
    knowledge_article_categories,
    knowledge_article_folders,
    knowledge_articles,
    tickets,
)
from .site_visits import object_definitions, object_fields, object_records
from .story import STAGES, Story
from .teams import activity_sets, follows, milestones, team_members, teams

SEED_NOW = datetime(2026, 11, 1, tzinfo=UTC)
"""The moment the generated history ends; fixed, so that the data are equal on every day."""

_WRITERS: dict[str, Callable[[Story], Iterator[Record]]] = {
    "users": users,
    "products": products,
    "organisations": organisations,
    "contacts": contacts,
    "leads": leads,
    "opportunities": opportunities,
    "projects": projects,
    "tasks": tasks,
    "events": events,
    "notes": notes,
    # What came later draws from the generator last, so that the rest stays as it was.
    "pricebooks": pricebooks,
    "pricebook_entries": pricebook_entries,
    "opportunity_line_items": opportunity_line_items,
    "quotes": quotes,
    "quote_line_items": quote_line_items,
    "emails": emails,
    "document_templates": document_templates,
    "prospects": prospects,
    "marketing_visits": marketing_visits,
    "tickets": tickets,
    "knowledge_article_categories": knowledge_article_categories,
    "knowledge_article_folders": knowledge_article_folders,
    "knowledge_articles": knowledge_articles,
    "forum_categories": forum_categories,
    "community_forums": community_forums,
    "community_posts": community_posts,
    "community_comments": community_comments,
    "teams": teams,
    "team_members": team_members,
    "activity_sets": activity_sets,
    "milestones": milestones,
    "follows": follows,
}


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
    # Nothing here is cyclic, and walking millions of new objects over and over doubles the time.
    gc.disable()
    try:
        return _write(Story(seed, scale, now))
    finally:
        if collecting:
            gc.enable()


def _write(story: Story) -> Contents:
    tables = {entity: _table(entity, rows) for entity, rows in _fixed().items()}
    for entity, writer in _WRITERS.items():
        tables[entity] = _table(entity, writer(story))
    tables["custom_objects"] = _table("custom_objects", object_definitions(story))
    for name in tables["custom_objects"].copy():
        tables[str(name)] = _table(str(name), object_records(str(name), story))
    return Contents(
        tables=tables,
        definitions=[*_definitions(), *object_fields()],
        history=history(story),
        child_rows=child_rows(tables, story.rng),
    )


def _table(entity: str, rows: Iterator[Record] | list[Record]) -> dict[Key, bytes]:
    return {key_of(entity, row): dump(row) for row in rows}


def _definitions() -> list[Record]:
    made: list[Record] = []
    for field_for, name, kind, options in CUSTOM_FIELDS:
        order = 1 + sum(row["FIELD_FOR"] == field_for for row in made)
        made.append(definition(field_for, name, kind, order, options=options))
    return made


def _fixed() -> dict[str, list[Record]]:
    """The lists that no seed changes."""
    lists: dict[str, list[Record]] = {
        "countries": [{"COUNTRY_NAME": name} for name in COUNTRIES],
        "currencies": [{"CURRENCY_CODE": code, "CURRENCY_SYMBOL": symbol} for code, symbol in CURRENCIES.items()],
        "lead_sources": [
            {"LEAD_SOURCE_ID": SOURCE_BASE + n, "LEAD_SOURCE": name, "DEFAULT_VALUE": n == 0, "FIELD_ORDER": n + 1}
            for n, name in enumerate(LEAD_SOURCES)
        ],
        "lead_statuses": [
            {
                "LEAD_STATUS_ID": STATUS_BASE + n,
                "LEAD_STATUS": name,
                "DEFAULT_STATUS": n == 0,
                "STATUS_TYPE": kind,
                "FIELD_ORDER": n + 1,
            }
            for n, (name, kind) in enumerate(LEAD_STATUSES)
        ],
        "pipelines": [
            blank("pipelines")
            | {"PIPELINE_ID": 501 + n, "PIPELINE_NAME": name, "FOR_OPPORTUNITIES": deals, "FOR_PROJECTS": projects}
            for n, (name, deals, projects, _) in enumerate(PIPELINES)
        ],
        "pipeline_stages": [
            blank("pipeline_stages")
            | {"STAGE_ID": stage, "PIPELINE_ID": pipeline, "STAGE_NAME": name, "STAGE_ORDER": order}
            for stage, pipeline, name, order in STAGES
        ],
        "opportunity_state_reasons": [
            {"STATE_REASON_ID": 901 + n, "STATE_REASON": text, "FOR_OPPORTUNITY_STATE": state}
            for n, (state, text) in enumerate(STATE_REASONS)
        ],
        "relationships": [
            blank("relationships")
            | {"RELATIONSHIP_ID": 951 + n, "FORWARD": forward, "FORWARD_TITLE": forward, "REVERSE": reverse}
            | {"REVERSE_TITLE": reverse, "FOR_CONTACTS": n == 0, "FOR_ORGANISATIONS": n == 1}
            for n, (forward, reverse) in enumerate(RELATIONSHIPS)
        ],
    }
    for index, (entity, names) in enumerate(CATEGORIES.items()):
        lists[entity] = [
            {
                "CATEGORY_ID": 7_001 + 100 * index + n,
                "CATEGORY_NAME": name,
                "ACTIVE": True,
                "BACKGROUND_COLOR": f"{n + 3}A7FB5",
            }
            for n, name in enumerate(names)
        ]
    return lists
