"""Kills a push (SIGKILL) at every step: the next run completes it, and nothing is done twice."""

import pytest

from tests.support.crm import Crm
from tests.support.kill import Call, Sent, run_and_die
from tests.support.push import ids, jsonl, named, people, planned, pushed, results

SEND, RECORD = "sources.insightly.api.client:Client.send", "pipelines.push.ledger:Ledger.record_result"


def push_and_die(crm: Crm, source: str, op: str, point: Call | Sent) -> None:
    """Runs `insightly push` in a process of its own, which must not survive `point`."""
    crm.clock.advance()
    run_and_die(crm, ["push", "contacts", source, "--op", op, "--yes"], point)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("point", "made"),
    [
        (Call(SEND, "before", 3), 2),
        (Sent(3, "Contacts*", "POST"), 3),
        (Call(SEND, "after", 3), 3),
        (Call(RECORD, "after", 3), 3),
        (Call("dlt.load.load:Load.run", "before", 1), 4),
    ],
    ids=str,
)
def test_killed_push_creates_nothing_twice(synced_crm: Crm, point: Call | Sent, made: int) -> None:
    crm, names = synced_crm, ("Ann", "Bob", "Bob", "Cy")
    source, before = jsonl(crm, people(*names)), len(ids(crm, "contacts"))
    push_and_die(crm, source, "create", point)
    assert len(ids(crm, "contacts")) - before == made
    assert planned(crm, "contacts", source, "create")["already_pushed"] >= 2

    assert results(pushed(crm, "contacts", source, "create")) == {"created": 4}
    assert [len(named(crm, name)) for name in ("Ann", "Bob", "Cy")] == [1, 2, 1]
    assert len(ids(crm, "contacts")) - before == 4
    log = crm.read("select count(distinct record_id) as ids, count(loaded_at) as loaded from insightly._push_log")
    assert log == [{"ids": 4, "loaded": 4}]
    crm.assert_equal("contacts")


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("op", "point"), [("update", Sent(2, "Contacts*", "PUT")), ("delete", Call(SEND, "after", 2))], ids=str
)
def test_next_run_completes_a_killed_update_or_delete(synced_crm: Crm, op: str, point: Call | Sent) -> None:
    crm, keys = synced_crm, ids(synced_crm, "contacts")[:3]
    source = jsonl(crm, [{"CONTACT_ID": key, "TITLE": "pushed"} for key in keys])
    push_and_die(crm, source, op, point)
    assert results(pushed(crm, "contacts", source, op)) == {f"{op}d": 3}
    writes = [call for call in crm.sandbox.log if call.method in ("PUT", "DELETE")]
    assert len(writes) == 1
    crm.assert_equal("contacts", deleted=True)
    gone = crm.read("select contact_id from insightly.contacts where _deleted_at is not null order by 1")
    assert [row["contact_id"] for row in gone] == (keys if op == "delete" else [])
