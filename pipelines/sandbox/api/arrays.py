"""What hangs below one record: Tags, Links, Dates, EmailDomains, children by link, and an opportunity's moves."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.sandbox.store.shapes import CHILD_KEYS, LINKED, MAIN, Record, facts_of

from .messages import ApiError, Request, Response, answer, empty
from .validate import item_of, json_body, json_object
from .writes import Writer

_SUBLISTS = {"notes": "notes", "tasks": "tasks", "events": "events", "emails": "emails"}
_ARRAYS = {"dates": "DATES", "emaildomains": "EMAILDOMAINS"}


@dataclass(frozen=True)
class At:
    """The record a call lies below, and the call."""

    entity: str
    key: int
    record: Record
    request: Request


_Action = Callable[[At], Response]


class Parts:
    """Answers calls below `/{Object}/{id}/`."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.reader = writer.reader
        self.store = writer.store
        self.switches = writer.switches

    def handle(self, entity: str, key: int, part: str, rest: list[str], request: Request) -> Response:
        """The answer to `/{entity}/{key}/{part}/...`, with `part` in lower case."""
        offered = self._offered(entity, part, rest)
        if offered is None:
            raise ApiError(404, f"No resource was found at {request.path}.")
        if request.method not in offered:
            raise ApiError(405, f"The requested resource does not support the method {request.method}.")
        with self.store.lock:
            record = self.store.get(entity, key)
            if record is None:
                raise ApiError(404, f"The record with id {key} was not found in {facts_of(entity).path}.")
            return offered[request.method](At(entity, key, record, request))

    def _offered(self, entity: str, part: str, rest: list[str]) -> dict[str, _Action] | None:
        arrays = facts_of(entity).arrays
        if part == "links" and "LINKS" in arrays and entity != "leads":
            if len(rest) == 1 and rest[0].isdigit():
                return {"DELETE": lambda at: self._unlink(at, int(rest[0]))}
            methods: dict[str, _Action] = {"GET": lambda at: answer(200, at.record["LINKS"]), "POST": self._add_link}
            return None if rest else methods | ({"PUT": self._put_link} if entity in MAIN else {})
        if rest:
            return None
        if part == "tags" and "TAGS" in arrays:
            return {"GET": self._tags, "POST": self._add_tag, "PUT": self._put_tags, "DELETE": self._remove_tag}
        if _ARRAYS.get(part) in arrays:
            array = _ARRAYS[part]
            return {
                "GET": lambda at: answer(200, at.record[array]),
                "PUT": lambda at: self._put_array(at, array),
            }
        if part in _SUBLISTS and entity in MAIN:
            child = _SUBLISTS[part]
            reads: dict[str, _Action] = {
                "GET": lambda at: self.reader.linked(child, at.entity, at.key, at.request.query)
            }
            return reads | (
                {"POST": lambda at: self.writer.create(child, at.request, (at.entity, at.key))}
                if part == "notes"
                else {}
            )
        return self._moves(part) if entity == "opportunities" else None

    def _moves(self, part: str) -> dict[str, _Action] | None:
        offered: dict[str, dict[str, _Action]] = {
            "pipeline": {"PUT": self._move, "DELETE": self._leave},
            "pipelinestage": {"PUT": self._move},
            "statechange": {"PUT": self._change_state},
            "statehistory": {"GET": lambda at: answer(200, self.store.history.get(at.key, []))},
        }
        return offered.get(part)

    # Tags

    def _tags(self, at: At) -> Response:
        return answer(200, at.record["TAGS"])

    def _add_tag(self, at: At) -> Response:
        sent = item_of("TAGS", json_object(at.request.body))
        self._save_tags(at, [*_names(at.record["TAGS"]), sent["TAG_NAME"]])
        return answer(201, sent)

    def _put_tags(self, at: At) -> Response:
        body = json_body(at.request.body)
        sent = [item_of("TAGS", item) for item in (body if isinstance(body, list) else [body])]
        kept = _names(at.record["TAGS"]) if self.switches.put_collections == "merge" else []
        saved = self._save_tags(at, [*kept, *_names(sent)])
        return answer(self.switches.put_status, saved["TAGS"])

    def _remove_tag(self, at: At) -> Response:
        name = item_of("TAGS", json_object(at.request.body))["TAG_NAME"]
        names = _names(at.record["TAGS"])
        if name not in names:
            raise ApiError(404, f"The record with id {at.key} has no tag {name!r}.")
        self._save_tags(at, [each for each in names if each != name])
        return empty(202)

    def _save_tags(self, at: At, names: list[str]) -> Record:
        return self.store.set_tags(at.entity, at.key, names, touch=self.switches.tag_change_moves_date)

    # Links, dates, e-mail domains

    def _add_link(self, at: At) -> Response:
        sent = item_of("LINKS", json_object(at.request.body))
        if sent["LINK_OBJECT_ID"] not in self.store.tables[LINKED[sent["LINK_OBJECT_NAME"]]].raw:
            raise ApiError(400, f"There is no {sent['LINK_OBJECT_NAME']} with id {sent['LINK_OBJECT_ID']}.")
        touch = self.switches.tag_change_moves_date
        made = self.store.add_link(
            at.entity, at.key, sent["LINK_OBJECT_NAME"], sent["LINK_OBJECT_ID"], sent["ROLE"], touch
        )
        if sent["DETAILS"]:
            self.store.change_links(at.entity, at.key, made["LINK_ID"], {"DETAILS": sent["DETAILS"]}, touch)
        return answer(201, made | {"DETAILS": sent["DETAILS"]})

    def _put_link(self, at: At) -> Response:
        sent = json_object(at.request.body)
        change: Record = {name: sent[name] for name in ("ROLE", "DETAILS", "RELATIONSHIP_ID") if name in sent}
        try:
            made = self.store.change_links(
                at.entity, at.key, sent.get("LINK_ID", 0), change, touch=self.switches.tag_change_moves_date
            )
        except KeyError:
            raise ApiError(404, f"The record with id {at.key} has no link {sent.get('LINK_ID')}.") from None
        return answer(200, made)

    def _unlink(self, at: At, link_id: int) -> Response:
        try:
            self.store.change_links(at.entity, at.key, link_id, None, touch=self.switches.tag_change_moves_date)
        except KeyError:
            raise ApiError(404, f"The record with id {at.key} has no link {link_id}.") from None
        return empty(202)

    def _put_array(self, at: At, array: str) -> Response:
        body = json_body(at.request.body)
        sent = [item_of(array, item) for item in (body if isinstance(body, list) else [body])]
        name = CHILD_KEYS[array]
        # A single object, or the merge switch, changes the rows it names; a list stands for the whole set.
        if not isinstance(body, list) or self.switches.put_collections == "merge":
            named = {item[name]: item for item in sent if item[name] is not None}
            sent = [named.pop(item[name], item) for item in at.record[array]] + [
                item for item in sent if item[name] is None or item[name] in named
            ]
        return answer(200, self.store.update(at.entity, at.key, {array: sent})[array])

    # An opportunity's pipeline and state

    def _move(self, at: At) -> Response:
        sent = json_object(at.request.body)
        stage_id = (sent.get("PIPELINE_STAGE_CHANGE") or sent).get("STAGE_ID")
        stages = self.store.tables["pipeline_stages"].raw
        stage = (
            self.store.get("pipeline_stages", stage_id) if isinstance(stage_id, int) and stage_id in stages else None
        )
        pipeline = sent.get("PIPELINE_ID", stage and stage["PIPELINE_ID"])
        if stage is None or stage["PIPELINE_ID"] != pipeline:
            raise ApiError(400, "STAGE_ID must name a stage of the pipeline.")
        self.store.update(at.entity, at.key, {"PIPELINE_ID": pipeline, "STAGE_ID": stage_id})
        return self.reader.single(at.entity, at.key)

    def _leave(self, at: At) -> Response:
        self.store.update(at.entity, at.key, {"PIPELINE_ID": None, "STAGE_ID": None})
        return empty(202)

    def _change_state(self, at: At) -> Response:
        sent = json_object(at.request.body)
        state = sent.get("FOR_OPPORTUNITY_STATE") or sent.get("OPPORTUNITY_STATE")
        if state not in {"OPEN", "WON", "LOST", "SUSPENDED", "ABANDONED"}:
            raise ApiError(400, "FOR_OPPORTUNITY_STATE must be OPEN, WON, LOST, SUSPENDED or ABANDONED.")
        now = self.store.now()
        closed = None if state in {"OPEN", "SUSPENDED"} else f"{now[:10]} 00:00:00"
        changed = self.store.update(at.entity, at.key, {"OPPORTUNITY_STATE": state, "ACTUAL_CLOSE_DATE": closed})
        reasons = self.store.rows("opportunity_state_reasons")
        wanted = sent.get("STATE_REASON_ID")
        self.store.record_state(changed, now, next((row for row in reasons if row["STATE_REASON_ID"] == wanted), None))
        return self.reader.single(at.entity, at.key)


def _names(tags: list[Record]) -> list[str]:
    return [tag["TAG_NAME"] for tag in tags]
