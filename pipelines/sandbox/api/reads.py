"""Lists, searches and single reads, in full and brief form (API.md, sections 2 and 7)."""

from collections.abc import Mapping
from zlib import crc32

from pipelines.sandbox.store.shapes import LINK_NAMES, Key, array_fields, facts_of
from pipelines.sandbox.store.store import Store
from pipelines.sandbox.store.table import dump, parse
from pipelines.sandbox.switches import Switches

from .messages import ApiError, Response, json_response, record_not_found
from .query import Filter, all_of, field_equals, flag, paging, total_header, updated_after

CONVERTED_STATUS = 2
"""STATUS_TYPE of the status of converted leads; the real value is unknown."""


class Reader:
    """Responds to GET on the collections of a store."""

    def __init__(self, store: Store, switches: Switches) -> None:
        self.store = store
        self.switches = switches

    def listing(self, entity: str, query: Mapping[str, str]) -> Response:
        """The plain list; it ignores `updated_after_utc` unless the switch `list_filter` says otherwise."""
        honoured = self.switches.list_filter == "honoured" and "S" in facts_of(entity).can
        date_filter = updated_after(query, self.switches) if honoured else None
        return self._page(entity, query, date_filter, self._visible(entity, query))

    def search(self, entity: str, query: Mapping[str, str]) -> Response:
        """`/Search`: by one field, by date, by both, or by neither."""
        field_for = facts_of(entity).field_for
        custom = frozenset(row["FIELD_NAME"] for row in self.store.definitions if row["FIELD_FOR"] == field_for)
        honoured = self.switches.search_field == "honoured"
        equals = field_equals(entity, query, custom) if honoured else None
        date_filter = updated_after(query, self.switches)
        if date_filter is not None and self._undated(entity):
            date_filter = (date_filter[0], "undated"), lambda *_: False
        response = self._page(entity, query, equals, date_filter, self._visible(entity, query))
        if self.switches.search_none == "404" and response.body == b"[]":
            raise ApiError(404, f"No record of {facts_of(entity).path} was found.")
        return response

    def search_by_tag(self, entity: str, query: Mapping[str, str]) -> Response:
        """`/SearchByTag?tagName=`: records with exactly that tag."""
        name = query.get("tagname", "")
        if not name:
            raise ApiError(400, "tagName is required.")

        def tagged(_: Key, raw: bytes) -> bool:
            return any(tag["TAG_NAME"] == name for tag in parse(raw).get("TAGS") or ())

        return self._page(entity, query, (("tag", name), tagged), self._visible(entity, query))

    def linked(self, entity: str, parent: str, key: int, query: Mapping[str, str]) -> Response:
        """`/{Parent}/{id}/Notes` and the like: the records of `entity` that link to the parent."""
        name, mark = LINK_NAMES[parent], str(key).encode()

        def links(_: Key, raw: bytes) -> bool:
            return mark in raw and any(
                item["LINK_OBJECT_NAME"] == name and item["LINK_OBJECT_ID"] == key
                for item in parse(raw).get("LINKS") or ()
            )

        return self._page(entity, query, (("linked", name, key), links), updated_after(query, self.switches))

    def children(self, entity: str, field: str, key: Key, query: Mapping[str, str]) -> Response:
        """The records of `entity` whose field has this value."""
        return self._page(entity, query, ((field, key), lambda _, raw: parse(raw).get(field) == key))

    def single(self, entity: str, key: Key) -> Response:
        """One full record, or a 404."""
        raw = self.store.tables[entity].raw.get(key)
        if raw is None:
            raise record_not_found(entity, key)
        return json_response(200, self.shaped(entity, raw, brief=False))

    def shaped(self, entity: str, raw: bytes, brief: bool) -> bytes:
        """The JSON of one record in the form that the switches set."""
        untagged = not self.switches.embed_tags and facts_of(entity).tagged
        undated = self._undated(entity)
        if not (brief or untagged or undated):
            return self._tagged(raw, raw)
        record = parse(raw)
        if brief:
            for name in array_fields(entity):
                if self.switches.brief_style == "missing":
                    record.pop(name, None)
                else:
                    record[name] = None if self.switches.brief_style == "null" else []
        if untagged:
            record.pop("TAGS", None)
        if undated:
            record.pop("DATE_UPDATED_UTC", None)
        return self._tagged(dump(record), raw)

    def _tagged(self, shaped: bytes, raw: bytes) -> bytes:
        return shaped.rstrip()[:-1] + f',"ETag":"{etag(raw)}"}}'.encode() if self.switches.etag else shaped

    def _page(self, entity: str, query: Mapping[str, str], *filters: Filter | None) -> Response:
        facts = facts_of(entity)
        brief = bool(facts.brief) and flag(query, "brief", self.switches)
        skip, top = paging(query, self.switches) if facts.paged else (0, None)
        counted = flag(query, "count_total", self.switches) and facts.paged
        token, matches = all_of(*filters)
        rows, total = self.store.page(entity, skip, top, token, matches)
        if brief or self.switches.etag or not self.switches.embed_tags or self._undated(entity):
            rows = [self.shaped(entity, raw, brief) for raw in rows]
        if images := frozenset() if self.switches.images_listed or brief else self._images(facts.field_for):
            rows = [_without_images(raw, images) for raw in rows]
        response = json_response(200, b"[" + b",".join(rows) + b"]")
        if counted and self.switches.total_header:
            response.headers["X-Total-Count"] = total_header(total, self.switches)
        return response

    def _images(self, field_for: str) -> frozenset[str]:
        definitions = (row for row in self.store.definitions if row["FIELD_FOR"] == field_for)
        return frozenset(row["FIELD_NAME"] for row in definitions if row["FIELD_TYPE"] == "IMAGE")

    def _undated(self, entity: str) -> bool:
        return bool(facts_of(entity).object_name) and not self.switches.object_dates

    def _visible(self, entity: str, query: Mapping[str, str]) -> Filter | None:
        if entity == "lead_statuses" and not flag(query, "include_converted", self.switches):
            return ("unconverted",), lambda _, raw: parse(raw).get("STATUS_TYPE") != CONVERTED_STATUS
        if entity == "leads" and not self.switches.converted_leads_listed:
            return ("unconverted",), lambda _, raw: not parse(raw).get("CONVERTED")
        return None


def _without_images(raw: bytes, images: frozenset[str]) -> bytes:
    record = parse(raw)
    entries = record.get("CUSTOMFIELDS") or ()
    return dump(record | {"CUSTOMFIELDS": [entry for entry in entries if entry["FIELD_NAME"] not in images]})


def etag(raw: bytes) -> str:
    """The ETag of a record, which changes with any byte of it. It has no quotes, which JSON would have to escape."""
    return f"{len(raw):x}-{crc32(raw):08x}"
