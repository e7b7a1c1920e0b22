"""kill -9 at every step of a push: run again, it goes on where it stopped, and nothing is done twice."""

import os
import signal
import subprocess
import sys

import pytest

from pipelines.sandbox import Fault, Store
from tests.support.crm import Crm
from tests.support.process import ROOT, reach
from tests.support.push import ids, jsonl, named, people, planned, pushed, results

SEND, SETTLE = "sources.insightly.api.client:Client.send", "pipelines.push.ledger:Ledger.settle"
SENT = "HTTP"
"""The request has arrived and is carried out, and nobody is there to take the answer."""


def push_and_die(crm: Crm, source: str, op: str, point: tuple[str, str, int]) -> None:
    """Runs `insightly push` in a process of its own, which must not survive `point`."""
    place, when, nth = point
    dying: list[subprocess.Popen[bytes]] = []

    def kill(_: Store) -> None:
        dying[0].send_signal(signal.SIGKILL)

    start = ["-m", "pipelines.cli"]
    if place == SENT:
        crm.sandbox.faults.add(Fault("call", "Contacts*", {"create": "POST", "update": "PUT"}[op], nth, action=kill))
    else:
        start = [str(ROOT / "tests/support/kill.py"), place, when, str(nth)]
    arguments = ["push", "contacts", source, "--op", op, "--yes", "--database", str(crm.database)]
    environment = {**os.environ, **reach(crm.sandbox), "PYTHONPATH": str(ROOT)}
    crm.clock.advance()
    with subprocess.Popen([sys.executable, *start, *arguments], cwd=crm.folder, env=environment) as process:
        dying.append(process)
        assert process.wait(timeout=120) == -signal.SIGKILL
    crm.sandbox.faults.clear()


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("point", "made"),
    [
        ((SEND, "before", 3), 2),
        ((SENT, "", 3), 3),
        ((SEND, "after", 3), 3),
        ((SETTLE, "after", 3), 3),
        (("dlt.load.load:Load.run", "before", 1), 4),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_a_killed_push_creates_nothing_twice(synced_crm: Crm, point: tuple[str, str, int], made: int) -> None:
    crm, names = synced_crm, ("Ann", "Bob", "Bob", "Cy")
    source, before = jsonl(crm, people(*names)), len(ids(crm, "contacts"))
    push_and_die(crm, source, "create", point)
    assert len(ids(crm, "contacts")) - before == made
    assert planned(crm, "contacts", source, "create")["settled"] >= 2

    assert results(pushed(crm, "contacts", source, "create")) == {"created": 4}
    assert [len(named(crm, name)) for name in ("Ann", "Bob", "Cy")] == [1, 2, 1]
    assert len(ids(crm, "contacts")) - before == 4
    log = crm.read("select count(distinct record_id) as ids, count(loaded_at) as loaded from insightly._push_log")
    assert log == [{"ids": 4, "loaded": 4}]
    crm.assert_equal("contacts")


@pytest.mark.few(1)
@pytest.mark.parametrize(("op", "point"), [("update", (SENT, "", 2)), ("delete", (SEND, "after", 2))])
def test_a_killed_update_or_delete_is_ended_by_the_next_run(
    synced_crm: Crm, op: str, point: tuple[str, str, int]
) -> None:
    crm, keys = synced_crm, ids(synced_crm, "contacts")[:3]
    source = jsonl(crm, [{"CONTACT_ID": key, "TITLE": "pushed"} for key in keys])
    push_and_die(crm, source, op, point)
    assert results(pushed(crm, "contacts", source, op)) == {f"{op}d": 3}
    writes = [call for call in crm.sandbox.log if call.method in ("PUT", "DELETE")]
    assert len(writes) == 1
    crm.assert_equal("contacts", deleted=True)
    gone = crm.read("select contact_id from insightly.contacts where _deleted_at is not null order by 1")
    assert [row["contact_id"] for row in gone] == (keys if op == "delete" else [])
