"""What the tests of `insightly push` share: files of rows, the push, and the requests the account received."""

import json
from collections.abc import Iterable
from typing import Any

from pipelines.engine.report import Report
from pipelines.push.request import PushRequest
from pipelines.push.run import dry_run, push
from pipelines.sandbox import Store
from pipelines.sandbox.store.shapes import blank
from sources.insightly import ENTITIES
from tests.support.crm import Crm
from tests.support.expected import Row

VALUES = {
    "string": ("one", "two"),
    "integer": (3, 4),
    "number": (1.5, 2.5),
    "boolean": (True, False),
    "datetime": ("2026-03-01 09:30:00", "2026-03-02 10:00:00"),
    "date": ("2026-04-01 00:00:00", "2026-04-02 00:00:00"),
}
COMPUTED = {"tasks": {"COMPLETED", "STATUS", "PERCENT_COMPLETE"}}
"""Fields that the service computes from others."""


def sample(entity: str, which: int = 0) -> Row:
    """A row with every writable field of an entity, but for those that name another record of it."""
    facts = ENTITIES[entity]
    own = {name for name, field in facts.fields.items() if field.references == entity}
    names = facts.writable - COMPUTED.get(entity, set()) - own
    row = {name: VALUES[facts.fields[name].type][which] for name in facts.fields if name in names}
    row |= {name: value[: facts.fields[name].max_length] for name, value in row.items() if isinstance(value, str)}
    return row


def add_referenced(store: Store, entity: str, *rows: Row) -> None:
    """Adds the records that the rows of an entity refer to."""
    for name, value in (pair for row in rows for pair in row.items()):
        references = ENTITIES[entity].fields[name].references
        if references in store.tables:
            store.put(references, blank(references) | {ENTITIES[references].key[0]: value})


def jsonl(crm: Crm, rows: Iterable[Row], name: str = "rows.jsonl") -> str:
    """Writes rows into a file; returns its path."""
    path = crm.folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def csv(crm: Crm, text: str, name: str = "rows.csv") -> str:
    path = crm.folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def pushed(crm: Crm, entity: str, source: str, op: str, code: int = 0, **options: Any) -> Report:
    """Pushes an hour later; the exit code must be `code`. `sandbox.log` then has the requests of this push alone."""
    crm.clock.advance()
    crm.sandbox.reset_log()
    settings = {name: options.pop(name) for name in ("max_calls",) if name in options}
    request, target = PushRequest(entity, source, op, **options), crm.target
    report = push(crm.settings(**settings), target, request)
    assert report.exit_code == code, report.reason
    return report


def planned(crm: Crm, entity: str, source: str, op: str, code: int = 0, **options: Any) -> Row:
    """The plan of a dry run, which must send no request."""
    crm.sandbox.reset_log()
    report = dry_run(crm.settings(), crm.target, PushRequest(entity, source, op, **options))
    assert crm.sandbox.log == []
    assert report.exit_code == code, report.reason
    facts: Row = report.entities[entity].facts["push"]
    return facts


def results(report: Report) -> Row:
    """The results of the rows without zeros."""
    facts = next(iter(report.entities.values())).facts["push"]
    return {word: count for word, count in facts["results"].items() if count}


def problems(report: Report) -> str:
    facts = next(iter(report.entities.values())).facts["push"]
    return "\n".join(f"{each['row']}: {each['problem']}" for each in facts["problems"])


def people(*names: str) -> list[Row]:
    return [{"FIRST_NAME": name, "EMAIL_ADDRESS": f"{name}@example.com".lower()} for name in names]


def named(crm: Crm, name: str) -> list[Row]:
    """The account's contacts with a first name."""
    return [row for row in crm.sandbox.store.rows("contacts") if row["FIRST_NAME"] == name]


def ids(crm: Crm, entity: str) -> list[int]:
    return [int(key) for key in crm.sandbox.store.tables[entity].keys]


def sent(crm: Crm, *methods: str) -> list[tuple[str, str]]:
    """The method and path of each write, or of each request with some methods."""
    selected = methods or ("POST", "PUT", "DELETE")
    return [(call.method, call.path) for call in crm.sandbox.log if call.method in selected]
