"""The routes below one record: tags, links, dates, e-mail domains, linked records, and the state of an opportunity."""

from collections.abc import Mapping

from pipelines.sandbox.store.shapes import CHILD_KEYS, LINKED, MAIN, Record, facts_of

from .messages import (
    ApiError,
    Handler,
    Request,
    Response,
    empty_response,
    handler_for,
    json_response,
    record_not_found,
    route_not_found,
)
from .validate import item_of, json_body, json_object
from .writes import Writer, closing_date

_LINKED_RECORDS = ("notes", "tasks", "events", "emails")
_ARRAYS = {"dates": "DATES", "emaildomains": "EMAILDOMAINS"}
_STATES = ("OPEN", "WON", "LOST", "SUSPENDED", "ABANDONED")


class RecordRoutes:
    """Responds to one request below `/{entity}/{key}/`."""

    def __init__(self, writer: Writer, entity: str, key: int, request: Request) -> None:
        self.writer, self.reader, self.store, self.switches = writer, writer.reader, writer.store, writer.switches
        self.entity, self.key, self.request = entity, key, request
        self.record: Record = {}

    def handle(self, part: str, rest: list[str]) -> Response:
        """The response to `/{entity}/{key}/{part}/{rest}`, with `part` in lower case."""
        handlers = self._handlers(part, rest)
        if handlers is None:
            raise route_not_found(self.request)
        handler = handler_for(self.request, handlers)
        with self.store.lock:
            record = self.store.get(self.entity, self.key)
            if record is None:
                raise record_not_found(self.entity, self.key)
            self.record = record
            return handler()

    def _handlers(self, part: str, rest: list[str]) -> Mapping[str, Handler] | None:
        arrays = facts_of(self.entity).arrays
        if part == "links" and "LINKS" in arrays and self.entity != "leads":
            if rest:
                single = len(rest) == 1 and rest[0].isdigit()
                return {"DELETE": lambda: self._remove_link(int(rest[0]))} if single else None
            links: dict[str, Handler] = {"GET": lambda: self._array("LINKS"), "POST": self._add_link}
            return links | ({"PUT": self._change_link} if self.entity in MAIN else {})
        if rest:
            return None
        if part == "tags" and "TAGS" in arrays:
            return {
                "GET": lambda: self._array("TAGS"),
                "POST": self._add_tag,
                "PUT": self._put_tags,
                "DELETE": self._remove_tag,
            }
        if _ARRAYS.get(part) in arrays:
            array = _ARRAYS[part]
            return {"GET": lambda: self._array(array), "PUT": lambda: self._put_array(array)}
        if part in _LINKED_RECORDS and self.entity in MAIN:
            handlers: dict[str, Handler] = {
                "GET": lambda: self.reader.linked(part, self.entity, self.key, self.request.query)
            }
            if part == "notes":
                handlers["POST"] = lambda: self.writer.create(part, self.request, (self.entity, self.key))
            return handlers
        if self.entity != "opportunities":
            return None
        states: dict[str, dict[str, Handler]] = {
            "pipeline": {"PUT": self._set_stage, "DELETE": self._clear_stage},
            "pipelinestage": {"PUT": self._set_stage},
            "statechange": {"PUT": self._set_state},
            "statehistory": {"GET": lambda: json_response(200, self.store.history.get(self.key, []))},
        }
        return states.get(part)

    def _array(self, array: str) -> Response:
        return json_response(200, self.record[array])

    def _sent_items(self, array: str) -> list[Record]:
        body = json_body(self.request.body)
        return [item_of(array, item) for item in (body if isinstance(body, list) else [body])]

    def _add_tag(self) -> Response:
        tag = item_of("TAGS", json_object(self.request.body))
        self._save_tags([*self.record["TAGS"], tag])
        return json_response(201, tag)

    def _put_tags(self) -> Response:
        kept = self.record["TAGS"] if self.switches.put_collections == "merge" else []
        saved = self._save_tags([*kept, *self._sent_items("TAGS")])
        return json_response(self.switches.put_status, saved["TAGS"])

    def _remove_tag(self) -> Response:
        name = item_of("TAGS", json_object(self.request.body))["TAG_NAME"]
        kept = [tag for tag in self.record["TAGS"] if tag["TAG_NAME"] != name]
        if len(kept) == len(self.record["TAGS"]):
            raise ApiError(417, f"The record with id {self.key} has no tag {name!r}.")
        self._save_tags(kept)
        return empty_response(202)

    def _save_tags(self, tags: list[Record]) -> Record:
        names = [tag["TAG_NAME"] for tag in tags]
        return self.store.set_tags(self.entity, self.key, names, self.switches.tag_change_moves_date)

    def _add_link(self) -> Response:
        sent = item_of("LINKS", json_object(self.request.body))
        name, other, details = sent["LINK_OBJECT_NAME"], sent["LINK_OBJECT_ID"], sent["DETAILS"]
        if other not in self.store.tables[LINKED[name]].raw:
            raise ApiError(400, f"There is no {name} with id {other}.")
        touch = self.switches.tag_change_moves_date
        same = (
            item
            for item in self.record["LINKS"]
            if (item["LINK_OBJECT_NAME"], item["LINK_OBJECT_ID"]) == (name, other) and item["ROLE"] == sent["ROLE"]
        )
        if self.switches.duplicate_link != "added" and (found := next(same, None)) is not None:
            if self.switches.duplicate_link == "refused":
                raise ApiError(400, f"The record with id {self.key} has this link already.")
            return json_response(201, found)
        made = self.store.add_link(self.entity, self.key, name, other, sent["ROLE"], touch)
        if details:
            self.store.change_links(self.entity, self.key, made["LINK_ID"], {"DETAILS": details}, touch)
        return json_response(201, made | {"DETAILS": details})

    def _change_link(self) -> Response:
        sent = json_object(self.request.body)
        change: Record = {name: sent[name] for name in ("ROLE", "DETAILS", "RELATIONSHIP_ID") if name in sent}
        return json_response(200, self._save_link(sent.get("LINK_ID"), change))

    def _remove_link(self, link_id: int) -> Response:
        self._save_link(link_id, None)
        return empty_response(202)

    def _save_link(self, link_id: int | None, change: Record | None) -> Record | None:
        touch = self.switches.tag_change_moves_date
        try:
            return self.store.change_links(self.entity, self.key, link_id or 0, change, touch)
        except KeyError:
            raise ApiError(404, f"The record with id {self.key} has no link {link_id}.") from None

    def _put_array(self, array: str) -> Response:
        sent, name = self._sent_items(array), CHILD_KEYS[array]
        # A single object, or the merge switch, changes the items it names; a list replaces all of them.
        if not isinstance(json_body(self.request.body), list) or self.switches.put_collections == "merge":
            named = {item[name]: item for item in sent if item[name] is not None}
            sent = [named.pop(item[name], item) for item in self.record[array]] + [
                item for item in sent if item[name] is None or item[name] in named
            ]
        return json_response(200, self.store.update(self.entity, self.key, {array: sent})[array])

    def _set_stage(self) -> Response:
        sent = json_object(self.request.body)
        stage_id = (sent.get("PIPELINE_STAGE_CHANGE") or sent).get("STAGE_ID")
        stage = self.store.get("pipeline_stages", stage_id) if isinstance(stage_id, int) else None
        if stage is None or stage["PIPELINE_ID"] != sent.get("PIPELINE_ID", stage["PIPELINE_ID"]):
            raise ApiError(400, "STAGE_ID must name a stage of the pipeline.")
        self.store.update(self.entity, self.key, {"PIPELINE_ID": stage["PIPELINE_ID"], "STAGE_ID": stage_id})
        return self.reader.single(self.entity, self.key)

    def _clear_stage(self) -> Response:
        self.store.update(self.entity, self.key, {"PIPELINE_ID": None, "STAGE_ID": None})
        return empty_response(202)

    def _set_state(self) -> Response:
        sent = json_object(self.request.body)
        state = sent.get("FOR_OPPORTUNITY_STATE") or sent.get("OPPORTUNITY_STATE")
        if state not in _STATES:
            raise ApiError(400, "FOR_OPPORTUNITY_STATE must be OPEN, WON, LOST, SUSPENDED or ABANDONED.")
        now = self.store.now()
        closed = {"OPPORTUNITY_STATE": state, "ACTUAL_CLOSE_DATE": closing_date(state, now)}
        changed = self.store.update(self.entity, self.key, closed)
        reason = self.store.get("opportunity_state_reasons", sent.get("STATE_REASON_ID") or 0)
        self.store.record_state(changed, now, reason)
        return json_response(self.switches.put_status, self.store.history[self.key][-1])
