"""Lists, searches and single reads, in full and brief form (api.md, sections 2 and 7)."""

from collections.abc import Callable, Collection
from typing import Any
from zlib import crc32

from pipelines.sandbox.store.shapes import LINK_NAMES, Parent, array_fields, parse_date
from pipelines.sandbox.store.table import dump, parse, stamp_of

from .exchange import ApiError, Exchange, Response, json_response

DEFAULT_PAGE, MAX_PAGE = 100, 500
CONVERTED_STATUS = 2
"""STATUS_TYPE of the status of converted leads; the real value is unknown."""
_PAGING = ("skip", "top", "count_total", "brief")
"""The parameters that do not change which records match."""

Filter = Callable[[bytes], bool]
"""A test of a record."""


def listing(x: Exchange) -> Response:
    """The plain list; it ignores `updated_after_utc` unless the switch `list_filter` says otherwise."""
    honoured = x.switches.list_filter == "honoured" and "S" in x.facts.can
    return _page(x, _updated_after(x) if honoured else None, _visible(x))


def search(x: Exchange) -> Response:
    """`/Search`: by one field, by date, by both, or by neither."""
    equals = _field_equals(x) if x.switches.search_field == "honoured" else None
    date_filter = _updated_after(x)
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

    return _page(x, links, _updated_after(x))


def child_rows(x: Exchange) -> Response:
    """`/{Parent}/{id}/Comments` and the like: the rows of `name` that belong to the record."""
    parent, x.entity = (x.entity, x.key), x.name
    return _page(x, _updated_after(x) if x.facts.paged else None, parent=parent)


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
    brief = bool(x.facts.brief) and _flag(x, "brief")
    skip, top = paging(x) if x.facts.paged else (0, None)
    token = x.request.path, x.switches, *((name, value) for name, value in x.query.items() if name not in _PAGING)
    rows, total = x.store.page(x.entity, skip, top, token, [test for test in filters if test], parent)
    definitions = {} if x.switches.images_listed else x.definitions
    images = {name for name, row in definitions.items() if row["FIELD_TYPE"] == "IMAGE"}
    return list_response(x, [_shaped(x, raw, brief, images) for raw in rows], total)


def paging(x: Exchange) -> tuple[int, int]:
    """(skip, top); a `top` above 500 is clamped or refused."""
    skip, top = _number(x, "skip", 0), _number(x, "top", DEFAULT_PAGE)
    if top > MAX_PAGE and x.switches.top_limit == "refuse":
        raise ApiError(400, f"The value of top must not be greater than {MAX_PAGE}.")
    return skip, min(top, MAX_PAGE)


def list_response(x: Exchange, rows: list[bytes], total: int) -> Response:
    """The rows of a page, with the number of all rows if the query wants it and the list has pages."""
    response = json_response(200, b"[" + b",".join(rows) + b"]")
    if _flag(x, "count_total") and x.switches.total_header and x.facts.paged:
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
    if x.entity == "lead_statuses" and not _flag(x, "include_converted"):
        return lambda raw: parse(raw).get("STATUS_TYPE") != CONVERTED_STATUS
    if x.entity == "leads" and not x.switches.converted_leads_listed:
        return lambda raw: not parse(raw).get("CONVERTED")
    return None


def _flag(x: Exchange, name: str) -> bool:
    """A boolean parameter; `true` and `True` are both valid."""
    value = x.query.get(name, "").strip().lower()
    if value not in ({"", "true", "false", "1", "0"} if x.switches.flag_values == "any" else {"", "true", "false"}):
        raise ApiError(400, f"The value {value!r} of {name} is not a boolean.")
    return value in {"true", "1"}


def _updated_after(x: Exchange) -> Filter | None:
    """The date filter: strictly later, unless the switch makes it inclusive; an empty value filters nothing."""
    value = x.query.get("updated_after_utc", "")
    if not value.strip():
        return None
    try:
        bound = parse_date(value, x.switches.date_formats == "documented")
    except ValueError:
        raise ApiError(400, f"The value {value!r} of updated_after_utc is not a valid date.") from None
    if x.switches.filter_inclusive:
        return lambda raw: stamp_of(raw) >= bound
    return lambda raw: stamp_of(raw) > bound


def _field_equals(x: Exchange) -> Filter | None:
    """The exact match of one standard or custom field."""
    name, value = x.query.get("field_name", ""), x.query.get("field_value")
    if not name and value is None:
        return None
    if not name or value is None:
        raise ApiError(400, "field_name and field_value must be given together.")
    if name in x.facts.fields:
        return lambda raw: _same(parse(raw).get(name), value)
    if name not in x.definitions:
        raise ApiError(400, f"{name} is not a field of {x.facts.path}.")
    mark = f'"{name}"'.encode()

    def matches(raw: bytes) -> bool:
        fields = parse(raw).get("CUSTOMFIELDS") or () if mark in raw else ()
        return any(item["FIELD_NAME"] == name and _same(item["FIELD_VALUE"], value) for item in fields)

    return matches


def _number(x: Exchange, name: str, default: int) -> int:
    text = x.query.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise ApiError(400, f"The value {text!r} of {name} is not a whole number of 0 or more.")
    return int(text)


def _same(stored: Any, text: str) -> bool:
    if stored is None:
        return False
    if isinstance(stored, bool):
        return text.lower() == str(stored).lower()
    if isinstance(stored, int | float):
        try:
            return float(text) == stored
        except ValueError:
            return False
    try:
        return stored in (text, parse_date(text, documented=True))
    except ValueError:
        return bool(stored == text)
