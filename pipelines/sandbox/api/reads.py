"""Lists, searches and single reads, in full and brief form (API.md, sections 2 and 7)."""

from collections.abc import Collection
from zlib import crc32

from pipelines.sandbox.store.shapes import LINK_NAMES, Parent, array_fields
from pipelines.sandbox.store.table import dump, parse

from .exchange import Exchange
from .messages import ApiError, Response, json_response
from .query import Filter, field_equals, flag, paging, updated_after

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
    equals = field_equals(x.entity, x.query, x.definitions) if x.switches.search_field == "honoured" else None
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
    return _shaped(x, x.raw())


def etag(raw: bytes) -> str:
    """The ETag of a record, which changes with any byte of it. It has no quotes, which JSON would have to escape."""
    return f"{len(raw):x}-{crc32(raw):08x}"


def _page(x: Exchange, *filters: Filter | None, parent: Parent | None = None) -> Response:
    brief = bool(x.facts.brief) and flag(x.query, "brief", x.switches)
    skip, top = paging(x.query, x.switches) if x.facts.paged else (0, None)
    token = x.request.path, x.switches, *((name, value) for name, value in x.query.items() if name not in _PAGING)
    rows, total = x.store.page(x.entity, skip, top, token, [test for test in filters if test], parent)
    definitions = {} if x.switches.images_listed else x.definitions
    images = {name for name, row in definitions.items() if row["FIELD_TYPE"] == "IMAGE"}
    return list_response(x, [_shaped(x, raw, brief, images) for raw in rows], total)


def list_response(x: Exchange, rows: list[bytes], total: int) -> Response:
    """The rows of a page, with the number of all rows if the query wants it and the list has pages."""
    response = json_response(200, b"[" + b",".join(rows) + b"]")
    if flag(x.query, "count_total", x.switches) and x.switches.total_header and x.facts.paged:
        response.headers["X-Total-Count"] = str(max(total + x.switches.total_error, 0))
    return response


def _shaped(x: Exchange, raw: bytes, brief: bool = False, images: Collection[str] = ()) -> bytes:
    """The JSON of one record in the form that the switches set, without its custom fields that are `images`."""
    arrays = array_fields(x.entity)
    dropped = {*(arrays if brief else ()), *(("DATE_UPDATED_UTC",) if _undated(x) else ())}
    dropped |= {"TAGS"} if x.facts.tagged and not x.switches.embed_tags else set()
    shaped = raw
    if dropped or images:
        record = {name: value for name, value in parse(raw).items() if name not in dropped}
        if images and record.get("CUSTOMFIELDS"):
            record["CUSTOMFIELDS"] = [each for each in record["CUSTOMFIELDS"] if each["FIELD_NAME"] not in images]
        if brief and x.switches.brief_style != "missing":
            record |= {name: None if x.switches.brief_style == "null" else [] for name in arrays}
        shaped = dump(record)
    return shaped.rstrip()[:-1] + f',"ETag":"{etag(raw)}"}}'.encode() if x.switches.etag else shaped


def _undated(x: Exchange) -> bool:
    return bool(x.facts.object_name) and not x.switches.object_dates


def _visible(x: Exchange) -> Filter | None:
    if x.entity == "lead_statuses" and not flag(x.query, "include_converted", x.switches):
        return lambda raw: parse(raw).get("STATUS_TYPE") != CONVERTED_STATUS
    if x.entity == "leads" and not x.switches.converted_leads_listed:
        return lambda raw: not parse(raw).get("CONVERTED")
    return None
