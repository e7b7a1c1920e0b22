"""Lists, searches and single reads, in full and brief form (API.md, sections 2 and 7)."""

from zlib import crc32

from pipelines.sandbox.store.shapes import LINK_NAMES, Parent, array_fields
from pipelines.sandbox.store.table import dump, parse

from .exchange import Exchange
from .messages import ApiError, Response, json_response
from .query import Filter, field_equals, flag, paging, total_header, updated_after

CONVERTED_STATUS = 2
"""STATUS_TYPE of the status of converted leads; the real value is unknown."""
_PAGING = ("skip", "top", "count_total", "brief")
"""The parameters that do not change which records match."""


def listing(x: Exchange) -> Response:
    """The plain list; it ignores `updated_after_utc` unless the switch `list_filter` says otherwise."""
    honoured = x.switches.list_filter == "honoured" and "S" in x.facts.can
    return _page(x, updated_after(x.query, x.switches) if honoured else None, _visible(x))


def search(x: Exchange) -> Response:
    """`/Search`: by one field, by date, by both, or by neither."""
    custom = frozenset(row["FIELD_NAME"] for row in x.store.definitions if row["FIELD_FOR"] == x.facts.field_for)
    honoured = x.switches.search_field == "honoured"
    equals = field_equals(x.entity, x.query, custom) if honoured else None
    date_filter = updated_after(x.query, x.switches)
    response = _page(x, equals, (lambda _: False) if date_filter and _undated(x) else date_filter, _visible(x))
    if x.switches.search_none == "404" and response.body == b"[]":
        raise ApiError(404, f"No record of {x.facts.path} was found.")
    return response


def search_by_tag(x: Exchange) -> Response:
    """`/SearchByTag?tagName=`: records with exactly that tag."""
    name = x.query.get("tagname", "")
    if not name:
        raise ApiError(400, "tagName is required.")

    def tagged(raw: bytes) -> bool:
        return any(tag["TAG_NAME"] == name for tag in parse(raw).get("TAGS") or ())

    return _page(x, tagged, _visible(x))


def linked(x: Exchange) -> Response:
    """`/{Parent}/{id}/Notes` and the like: the records of `name` that link to the parent."""
    parent, key, x.entity = LINK_NAMES[x.entity], x.key, x.name
    mark = str(key).encode()

    def links(raw: bytes) -> bool:
        return mark in raw and any(
            item["LINK_OBJECT_NAME"] == parent and item["LINK_OBJECT_ID"] == key
            for item in parse(raw).get("LINKS") or ()
        )

    return _page(x, links, updated_after(x.query, x.switches))


def child_rows(x: Exchange) -> Response:
    """`/{Parent}/{id}/Comments` and the like: the rows of `name` that belong to the record."""
    parent, x.entity = (x.entity, x.key), x.name
    return _page(x, updated_after(x.query, x.switches) if x.facts.paged else None, parent=parent)


def visits(x: Exchange) -> Response:
    """`/MarketingVisits/{id}`: the visits of a prospect, where other collections have one record."""
    return _page(x, lambda raw: parse(raw).get("PROSPECT_ID") == x.key)


def single(x: Exchange) -> Response:
    """One full record, or a 404."""
    return json_response(200, saved(x))


def saved(x: Exchange) -> bytes:
    """The JSON of the record that the path names."""
    return _shaped(x, x.raw(), brief=False)


def etag(raw: bytes) -> str:
    """The ETag of a record, which changes with any byte of it. It has no quotes, which JSON would have to escape."""
    return f"{len(raw):x}-{crc32(raw):08x}"


def _page(x: Exchange, *filters: Filter | None, parent: Parent | None = None) -> Response:
    brief = bool(x.facts.brief) and flag(x.query, "brief", x.switches)
    skip, top = paging(x.query, x.switches) if x.facts.paged else (0, None)
    counted = flag(x.query, "count_total", x.switches) and x.facts.paged
    token = x.request.path, x.switches, *((name, value) for name, value in x.query.items() if name not in _PAGING)
    rows, total = x.store.page(x.entity, skip, top, token, [test for test in filters if test], parent)
    if brief or x.switches.etag or not x.switches.embed_tags or _undated(x):
        rows = [_shaped(x, raw, brief) for raw in rows]
    if images := frozenset() if x.switches.images_listed or brief else _images(x):
        rows = [_without_images(raw, images) for raw in rows]
    response = json_response(200, b"[" + b",".join(rows) + b"]")
    if counted and x.switches.total_header:
        response.headers["X-Total-Count"] = total_header(total, x.switches)
    return response


def _shaped(x: Exchange, raw: bytes, brief: bool) -> bytes:
    """The JSON of one record in the form that the switches set."""
    untagged, undated, shaped = not x.switches.embed_tags and x.facts.tagged, _undated(x), raw
    if brief or untagged or undated:
        record = parse(raw)
        dropped = [*(array_fields(x.entity) if brief else ()), *(("TAGS",) if untagged else ())]
        for name in [*dropped, *(("DATE_UPDATED_UTC",) if undated else ())]:
            record.pop(name, None)
        if brief and x.switches.brief_style != "missing":
            record |= {name: None if x.switches.brief_style == "null" else [] for name in array_fields(x.entity)}
        shaped = dump(record)
    return shaped.rstrip()[:-1] + f',"ETag":"{etag(raw)}"}}'.encode() if x.switches.etag else shaped


def _images(x: Exchange) -> frozenset[str]:
    definitions = (row for row in x.store.definitions if row["FIELD_FOR"] == x.facts.field_for)
    return frozenset(row["FIELD_NAME"] for row in definitions if row["FIELD_TYPE"] == "IMAGE")


def _undated(x: Exchange) -> bool:
    return bool(x.facts.object_name) and not x.switches.object_dates


def _visible(x: Exchange) -> Filter | None:
    if x.entity == "lead_statuses" and not flag(x.query, "include_converted", x.switches):
        return lambda raw: parse(raw).get("STATUS_TYPE") != CONVERTED_STATUS
    if x.entity == "leads" and not x.switches.converted_leads_listed:
        return lambda raw: not parse(raw).get("CONVERTED")
    return None


def _without_images(raw: bytes, images: frozenset[str]) -> bytes:
    record = parse(raw)
    entries = record.get("CUSTOMFIELDS") or ()
    return dump(record | {"CUSTOMFIELDS": [entry for entry in entries if entry["FIELD_NAME"] not in images]})
