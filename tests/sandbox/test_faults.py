"""The fault script, over real sockets."""

import time

import pytest
import requests

from pipelines.sandbox import Fault, read_faults
from tests.support.requests_to_sandbox import ids_of, send


def test_faults_hit_the_calls_they_match(sandbox):
    sandbox.faults.add(Fault("503", match="contacts*", nth=2, times=2), Fault("404", match=r"regex:^leads\?.*skip=100"))
    assert [send(sandbox, "Contacts").status_code for _ in range(4)] == [200, 503, 503, 200]
    assert send(sandbox, "Leads").status_code == 200
    assert send(sandbox, "Leads", params={"skip": 100}).status_code == 404


@pytest.mark.parametrize("status", ["500", "502", "503", "504"])
def test_status_fault_has_a_json_message(sandbox, status):
    sandbox.faults.add(Fault(status))
    response = send(sandbox, "Contacts")
    assert (response.status_code, bool(response.json()["Message"])) == (int(status), True)


def test_burst_and_daily_faults_set_the_rate_headers(sandbox):
    sandbox.faults.add(
        Fault("burst", nth=1, retry_after=2), Fault("burst", nth=2, counter=False), Fault("daily", nth=3)
    )
    first_one, second, third = (send(sandbox, "Contacts") for _ in range(3))
    assert (first_one.status_code, first_one.headers["Retry-After"]) == (429, "2")
    assert int(first_one.headers["X-RateLimit-Remaining"]) > 0
    assert "X-RateLimit-Remaining" not in second.headers
    assert "Retry-After" not in second.headers
    assert third.headers["X-RateLimit-Remaining"] == "0"


def test_reset_and_cut_break_the_connection(sandbox):
    sandbox.faults.add(Fault("reset"), Fault("cut", nth=2))
    for _ in range(2):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            send(sandbox, "Contacts")
    assert send(sandbox, "Contacts").status_code == 200
    assert [call.status for call in sandbox.log] == [0, 200, 200]


def test_faults_spoil_the_body_or_its_type(sandbox):
    kinds = ["invalid_json", "html", "content_type", "object", "duplicate", "unsorted"]
    sandbox.faults.add(*(Fault(kind, nth=n) for n, kind in enumerate(kinds, start=1)))
    invalid, html, plain, single, duplicate, unsorted = (send(sandbox, "Contacts", params={"top": 5}) for _ in kinds)
    good = ids_of(send(sandbox, "Contacts", params={"top": 5}))
    with pytest.raises(requests.exceptions.JSONDecodeError):
        invalid.json()
    assert (html.status_code, html.headers["Content-Type"][:9]) == (200, "text/html")
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert isinstance(single.json(), dict)
    assert ids_of(duplicate) == [*good, good[-1]]
    assert ids_of(unsorted) == good[::-1]


def test_faults_change_data_between_pages(sandbox):
    before = [row["CONTACT_ID"] for row in sandbox.store.rows("contacts")]
    sandbox.faults.add(
        Fault("delete_before", match="Contacts", nth=2, count=2),
        Fault("create", match="Contacts", nth=3),
        Fault("touch_same_second", match="Contacts", nth=4, count=3),
        Fault("call", match="Contacts", nth=5, action=lambda store: store.delete("contacts", before[-1])),
    )
    page = {"top": 500, "count_total": "true"}
    assert ids_of(send(sandbox, "Contacts", params=page)) == before
    assert ids_of(send(sandbox, "Contacts", params=page)) == before[2:]
    assert ids_of(send(sandbox, "Contacts", params=page))[-1] > before[-1]
    rows = send(sandbox, "Contacts", params=page).json()
    newest = max(row["DATE_UPDATED_UTC"] for row in rows)
    assert [row["DATE_UPDATED_UTC"] for row in rows[:3]] == [newest] * 3
    assert before[-1] not in ids_of(send(sandbox, "Contacts", params=page))


def test_slow_delays_and_forbidden_refuses(sandbox):
    sandbox.faults.add(Fault("slow", seconds=0.05), Fault("forbidden", match="Leads*", nth=2, times=None))
    began = time.monotonic()
    assert send(sandbox, "Contacts").status_code == 200
    assert time.monotonic() - began >= 0.05
    assert [send(sandbox, "Leads").status_code for _ in range(3)] == [200, 403, 403]


def test_fault_script_is_read_from_a_file(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text(
        '[{"match": "Contacts*", "kind": "burst", "nth": 3, "times": null, "retry_after": 1}]', encoding="utf-8"
    )
    assert read_faults(path) == [Fault("burst", match="Contacts*", nth=3, times=None, retry_after=1)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "array"),
        ("[1]", "the fields are kind"),
        ('[{"kind": "nonsense"}]', "nonsense"),
        ('[{"kind": "503", "when": 2}]', "when"),
        ('[{"kind": "503", "nth": 0}]', "at least 1"),
        ('[{"kind": "call"}]', "action"),
        ("[", "unexpected end"),
    ],
)
def test_invalid_fault_script_names_the_problem(tmp_path, text, reason):
    path = tmp_path / "faults.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        read_faults(path)
