"""What belongs to one record: tags, links, dates, files, comments, memberships, the stage and state of a deal."""

from email import message_from_bytes
from email.policy import HTTP
from typing import Any

from pipelines.sandbox.store.shapes import LINK_FIELDS, LINKED, Record
from sources.insightly.fields import child_fields

from .exchange import ApiError, Exchange, Response, empty_response, json_response
from .reads import single
from .validate import item_of, stored, writable
from .writes import ITEM_KEYS, closing_date, created, merged, update

_STATES = ("OPEN", "WON", "LOST", "SUSPENDED", "ABANDONED")


def read_array(x: Exchange) -> Response:
    return json_response(200, x.record[x.name])


def put_array(x: Exchange) -> Response:
    """A list replaces all items; a single object, or the merge switch, changes the items it names."""
    body, replace = x.body, isinstance(x.body, list) and x.switches.put_collections == "replace"
    sent = [item_of(x, x.name, item) for item in (body if isinstance(body, list) else [body])]
    items = merged([] if replace else x.record[x.name], sent, ITEM_KEYS[x.name])
    return json_response(x.switches.put_status, _save(x, items)[x.name])


def add_tag(x: Exchange) -> Response:
    tag = item_of(x, "TAGS", x.sent)
    _save(x, merged(x.record["TAGS"], [tag], "TAG_NAME"))
    return json_response(201, tag)


def remove_tag(x: Exchange) -> Response:
    name, stored = item_of(x, "TAGS", x.sent)["TAG_NAME"], x.record["TAGS"]
    kept = [tag for tag in stored if tag["TAG_NAME"] != name]
    if len(kept) == len(stored):
        raise ApiError(417, f"The record with id {x.key} has no tag {name!r}.")
    _save(x, kept)
    return empty_response()


def add_link(x: Exchange) -> Response:
    sent, links = item_of(x, "LINKS", x.sent), x.record["LINKS"]
    name, other, role = sent["LINK_OBJECT_NAME"], sent["LINK_OBJECT_ID"], sent["ROLE"]
    if other not in x.store.tables[LINKED[name]].raw:
        raise ApiError(400, f"There is no {name} with id {other}.")
    same = (each for each in links if (each["LINK_OBJECT_NAME"], each["LINK_OBJECT_ID"]) == (name, other))
    found = next((each for each in same if each["ROLE"] == role), None)
    if found is not None and x.switches.duplicate_link == "refused":
        raise ApiError(400, f"The record with id {x.key} has this link already.")
    if found is not None and x.switches.duplicate_link == "returned":
        return json_response(201, found)
    fields = {name: sent[name] for name in LINK_FIELDS}
    return json_response(201, x.store.add_link(x.entity, x.key, name, other, fields, x.switches.tag_change_moves_date))


def change_link(x: Exchange) -> Response:
    sent = x.sent
    change = {name: stored(x, child_fields("LINKS")[name], sent[name]) for name in LINK_FIELDS if name in sent}
    return json_response(200, _save_link(x, sent.get("LINK_ID"), change))


def remove_link(x: Exchange) -> Response:
    _save_link(x, x.item, None)
    return empty_response()


def set_stage(x: Exchange) -> Response:
    sent = x.sent
    stage_id = (sent.get("PIPELINE_STAGE_CHANGE") or sent).get("STAGE_ID")
    stage = x.store.get("pipeline_stages", stage_id) if isinstance(stage_id, int) else None
    if stage is None or stage["PIPELINE_ID"] != sent.get("PIPELINE_ID", stage["PIPELINE_ID"]):
        raise ApiError(400, "STAGE_ID must name a stage of the pipeline.")
    x.store.update(x.entity, x.key, {"PIPELINE_ID": stage["PIPELINE_ID"], "STAGE_ID": stage_id})
    return single(x)


def clear_stage(x: Exchange) -> Response:
    x.store.update(x.entity, x.key, {"PIPELINE_ID": None, "STAGE_ID": None})
    return empty_response()


def set_state(x: Exchange) -> Response:
    """Sets the state, and answers the new row of the state history."""
    sent, now = x.sent, x.store.now()
    state = sent.get("FOR_OPPORTUNITY_STATE") or sent.get("OPPORTUNITY_STATE")
    if state not in _STATES:
        raise ApiError(400, "FOR_OPPORTUNITY_STATE must be OPEN, WON, LOST, SUSPENDED or ABANDONED.")
    closed = {"OPPORTUNITY_STATE": state, "ACTUAL_CLOSE_DATE": closing_date(state, now)}
    reason = x.store.get("opportunity_state_reasons", sent.get("STATE_REASON_ID") or 0)
    row = x.store.record_state(x.store.update(x.entity, x.key, closed), now, reason)
    return json_response(x.switches.put_status, row)


def _save(x: Exchange, items: list[Record]) -> Record:
    touch = x.name != "TAGS" or x.switches.tag_change_moves_date
    return x.store.update(x.entity, x.key, {x.name: items}, touch)


def _save_link(x: Exchange, link_id: int | None, change: Record | None) -> Record | None:
    try:
        return x.store.change_links(x.entity, x.key, link_id or 0, change, x.switches.tag_change_moves_date)
    except KeyError:
        raise ApiError(404, f"The record with id {x.key} has no link {link_id}.") from None


def upload(x: Exchange) -> Response:
    """Takes a multipart body with one file."""
    kind = x.request.headers.get("content-type", "")
    body = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + x.request.body, policy=HTTP)
    file = next((part for part in body.iter_parts() if part.get_filename()), None)
    if file is None:
        raise ApiError(400, "The request body must be multipart/form-data with a file.")
    content = file.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    fields = {"FILE_NAME": file.get_filename(), "CONTENT_TYPE": file.get_content_type(), "FILE_SIZE": len(content)}
    parent, x.entity = (x.entity, x.key), x.name
    response = created(x, fields, parent)
    x.store.files[x.key] = content
    return response


def read_file(x: Exchange) -> Response:
    """The row with `format=JSON`, else the content of the file: what was uploaded, or zeros in its size."""
    if x.query.get("format", "").lower() == "json":
        return single(x)
    content = x.store.files.get(x.key) or bytes(x.record["FILE_SIZE"] or 0)
    return Response(200, {"Content-Type": "application/octet-stream"}, content)


def change_comment(x: Exchange) -> Response:
    if writable(x).get("BODY") in (None, ""):
        raise ApiError(400, "BODY is required.")
    return update(x)


def join_list(x: Exchange) -> Response:
    list_id = _list_id(x.body)
    _set_lists(x, [*_lists(x), list_id])
    return json_response(201, {"LIST_ID": list_id})


def put_lists(x: Exchange) -> Response:
    """An array replaces all memberships."""
    if not isinstance(x.body, list):
        raise ApiError(400, "The request body must be an array.")
    ids = list(dict.fromkeys(map(_list_id, x.body)))
    _set_lists(x, ids)
    return json_response(x.switches.put_status, [{"LIST_ID": id_} for id_ in ids])


def leave_list(x: Exchange) -> Response:
    list_id, stored = _list_id(x.body), _lists(x)
    if list_id not in stored:
        raise ApiError(404, f"The record with id {list_id} was not found.")
    _set_lists(x, [id_ for id_ in stored if id_ != list_id])
    return empty_response()


def _lists(x: Exchange) -> list[int]:
    return [row["LIST_ID"] for row in x.store.children(x.name, x.entity, x.key)]


def _set_lists(x: Exchange, ids: list[int]) -> None:
    """Makes the record a member of these lists alone."""
    stored, touch = _lists(x), x.switches.comment_moves_date
    for id_ in stored:
        if id_ not in ids:
            x.store.delete(x.name, f"{x.key} {id_}", touch)
    for id_ in ids:
        if id_ not in stored:
            x.store.create(x.name, {"LIST_ID": id_}, (x.entity, x.key), touch)


def _list_id(sent: Any) -> int:
    id_ = sent.get("LIST_ID") if isinstance(sent, dict) else None
    if not isinstance(id_, int) or isinstance(id_, bool):
        raise ApiError(400, "LIST_ID is required.")
    return id_
