"""`/_sandbox/`, fixtures, options of the command, and the pytest fixture."""

import argparse
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from pipelines.cli.__main__ import main
from pipelines.sandbox import Contents, Fault, Sandbox, Switches
from pipelines.sandbox.http.control import OPERATIONS
from pipelines.sandbox.store.fixtures import dump, load
from tests.support.crm import OPEN
from tests.support.process import ROOT
from tests.support.requests_to_sandbox import send

PAGE = ROOT / "docs/guide/sandbox.md"
RECORDS = {
    "users": [{"USER_ID": 7, "FIRST_NAME": "Ada"}],
    "contacts": [{"FIRST_NAME": "Bo", "TAGS": [{"TAG_NAME": "new"}]}, {"CONTACT_ID": 900, "FIRST_NAME": "Cy"}],
    "Fruit__c": [{"RECORD_NAME": "Apple"}],
    "custom_fields": [{"FIELD_FOR": "CONTACT", "FIELD_NAME": "Hobby__c", "FIELD_TYPE": "TEXT"}],
    "comments": [{"PARENT": "contacts/900", "BODY": "Agreed."}],
    "opportunity_state_history": [{"OPPORTUNITY_ID": 5, "FOR_OPPORTUNITY_STATE": "WON"}],
    "instance": {"INSTANCE_NAME": "Ours"},
}


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(contents=Contents(), switches=OPEN, fixtures=RECORDS, faults=[Fault("503", "Leads*")]) as sandbox:
        yield sandbox


def control(sandbox: Sandbox, method: str, path: str, body: object = None, status: int = 200) -> object:
    url = f"{sandbox.url.removesuffix('v3.1')}_sandbox/{path}"
    response = requests.request(method, url, json=body, auth=(sandbox.key, ""), timeout=10)
    assert response.status_code == status, response.text
    return response.json()


def test_fixtures_are_served_and_dumped_again(box: Sandbox) -> None:
    first, second = send(box, "Contacts").json()
    assert (first["FIRST_NAME"], first["TAGS"], first["LAST_NAME"]) == ("Bo", [{"TAG_NAME": "new"}], None)
    assert (second["CONTACT_ID"], first["CONTACT_ID"] > 0, first["DATE_UPDATED_UTC"][:2]) == (900, True, "20")
    assert send(box, "Fruit__c").json()[0]["RECORD_NAME"] == "Apple"
    assert send(box, "CustomFields/Contacts").json()[0]["FIELD_LABEL"] == "Hobby"
    assert send(box, "Instance").json()["INSTANCE_NAME"] == "Ours"
    data = control(box, "GET", "fixtures")
    with Sandbox(contents=Contents(), switches=OPEN) as other:
        control(other, "POST", "fixtures", data)
        assert dump(other.store) == data
        assert send(other, "Contacts").json() == [first, second]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "an object of lists"),
        ({"contact": []}, "contact is not a table with records"),
        ({"tags": []}, "tags is not a table"),
        ({"contacts": {}}, "contacts must be a list of objects"),
        ({"instance": []}, "instance must be an object"),
        ({"comments": [{"BODY": "x"}]}, "each of comments needs PARENT"),
        ({"contacts": [{"FIRST_NAME": "x"}], "custom_fields": [{"FIELD_FOR": "CONTACT"}]}, "needs FIELD_NAME"),
    ],
)
def test_wrong_fixtures_are_refused_and_add_nothing(box: Sandbox, data: object, words: str) -> None:
    before = dump(box.store)
    with pytest.raises(ValueError, match=words):
        load(box.store, data)
    refused = control(box, "POST", "fixtures", data, status=400)
    assert words in str(refused)
    assert dump(box.store) == before


def test_reset_goes_back_to_the_start(box: Sandbox) -> None:
    before = dump(box.store)
    send(box, "Contacts/900", "DELETE")
    control(box, "POST", "fixtures", {"notes": [{"TITLE": "x"}]})
    control(box, "PATCH", "switches", {"quota": 1})
    control(box, "DELETE", "faults")
    control(box, "PUT", "clock", {"advance_seconds": 3600})
    assert box.store.count("contacts") == 1
    control(box, "POST", "reset")
    assert (dump(box.store), box.switches, box.log) == (before, OPEN, [])
    assert control(box, "GET", "clock")["offset_seconds"] == 0  # type: ignore[index]
    assert send(box, "Leads").status_code == 503


def test_seed_replaces_the_records(box: Sandbox) -> None:
    counts = control(box, "POST", "seed", {"seed": 3, "scale": 0.01})
    assert counts["contacts"] == 10  # type: ignore[index]
    assert control(box, "POST", "seed", {"empty": True}) == {}
    assert "unknown: rows" in str(control(box, "POST", "seed", {"rows": 3}, status=400))


def test_switches_are_set_and_wrong_ones_refused(box: Sandbox) -> None:
    values = control(box, "GET", "switches")
    assert values == control(box, "PATCH", "switches", values)
    control(box, "PATCH", "switches", {"forbidden": ["contacts"], "put_status": 201, "quota": None})
    assert (box.switches.forbidden, box.switches.put_status) == ({"contacts"}, 201)
    assert send(box, "Contacts").status_code == 403
    for body, words in (
        ({"etags": True}, "etags is not a switch; known are top_limit"),
        ({"etag": "maybe"}, "etag must be true or false"),
        ({"plan": "free"}, "plan must be enterprise or professional, not 'free'"),
        ({"rate": "fast"}, "rate must be a number"),
        ({"forbidden": 3}, "forbidden must be a list of names"),
    ):
        assert words in str(control(box, "PATCH", "switches", body, status=400))


def test_faults_clock_limits_and_log(box: Sandbox) -> None:
    control(box, "POST", "faults", {"kind": "missing", "match": "Contacts", "nth": 2})
    assert [send(box, "Contacts").status_code for _ in range(3)] == [200, 404, 200]
    assert [fault["matched"] for fault in control(box, "GET", "faults")] == [0, 3]  # type: ignore[attr-defined]
    assert "unknown kind" in str(control(box, "POST", "faults", [{"kind": "broken"}], status=400))
    control(box, "PUT", "clock", {"now": "2030-01-01T00:00:00Z"})
    assert send(box, "Contacts").headers["Date"].startswith("Tue, 01 Jan 2030 00:00:0")
    made = send(box, "Contacts", "POST", json={"FIRST_NAME": "Di"}).json()
    assert made["DATE_CREATED_UTC"].startswith("2030-01-01 00:00:0")
    control(box, "DELETE", "clock")
    assert not send(box, "Contacts").headers["Date"].endswith("2030")
    assert control(box, "PATCH", "limits", {"quota": 10, "used": 9})["used"] == 9  # type: ignore[index]
    assert [send(box, "Contacts").status_code for _ in range(2)] == [200, 429]
    log = control(box, "GET", "log")
    assert {"method": "POST", "path": "/Contacts", "status": 201}.items() <= log[4].items()  # type: ignore[index]
    control(box, "DELETE", "log")
    assert box.log == []


def test_control_needs_the_key_and_names_its_paths(box: Sandbox) -> None:
    url = f"{box.url.removesuffix('v3.1')}_sandbox/"
    assert requests.get(f"{url}health", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{url}fixtures", timeout=10).status_code == 401
    assert [row["path"] for row in control(box, "GET", "")] == [f"/_sandbox/{name}" for _, name in OPERATIONS]  # type: ignore[attr-defined]
    assert "GET /_sandbox/ lists" in str(control(box, "GET", "nothing", status=404))
    assert "takes POST" in str(control(box, "GET", "reset", status=405))
    assert box.log == []


def test_chunked_bodies_are_read_and_the_connection_stays_open(box: Sandbox) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"FIRST_NAME"'
        yield b': "Chunked"}'

    with requests.Session() as session:
        session.auth = box.key, ""
        made = session.post(f"{box.url}/Contacts", data=chunks(), timeout=10)
        assert (made.status_code, made.json()["FIRST_NAME"]) == (201, "Chunked")
        assert session.get(f"{box.url}/Contacts", timeout=10).json()[-1] == made.json()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v3.1/Contacts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /v3.1/Contacts HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n{}",
        b"POST /v3.1/Contacts HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
        b"no request at all\r\n\r\n",
    ],
    ids=["chunk", "length", "negative length", "request line"],
)
def test_unreadable_request_gets_one_json_answer(box: Sandbox, request_: bytes) -> None:
    address = urlsplit(box.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        connection.sendall(request_)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["Message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--switch", "etag"], "--switch is 'etag': etag has no value: write NAME=VALUE"),
        (["--switch", "plan=free"], "plan must be enterprise or professional"),
        (["--fixtures", "missing.json"], "No such file"),
        (["--fixtures", "wrong.json"], "contact is not a table with records"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.json").write_text('{"contact": []}', encoding="utf-8")
    assert main(["sandbox", "--port", "0", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_command_serves_fixtures_and_logs_requests(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(json.dumps(RECORDS), encoding="utf-8")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines.cli", "sandbox", "--port", "0", "--empty", "--key", "my-key", "--log"),
            *("--fixtures", "records.json", "--switch", "total_header=off", "--host", "0.0.0.0"),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with closing(process.stdout), closing(process.stderr):  # type: ignore[type-var]
        assert process.stdout is not None
        assert process.stderr is not None
        assert "Other machines can reach this sandbox at 0.0.0.0" in process.stderr.readline()
        url = process.stdout.readline().split()[2].rstrip(";")
        response = requests.get(f"{url}/Contacts?count_total=true", auth=("my-key", ""), timeout=10)
        assert [row["FIRST_NAME"] for row in response.json()] == ["Bo", "Cy"]
        assert "X-Total-Count" not in response.headers
        assert process.stderr.readline() == "200 GET /Contacts?count_total=true\n"
        process.terminate()
        process.wait()


def test_pytest_fixture_serves_an_account(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import os\n"
        "import pytest\n"
        "from urllib.request import urlopen\n"
        "def test_empty(insightly_sandbox):\n"
        "    assert insightly_sandbox.store.count('contacts') == 0\n"
        "    assert os.environ['SOURCES__INSIGHTLY__BASE_URL'] == insightly_sandbox.url\n"
        "@pytest.mark.insightly_sandbox(scale=0.01)\n"
        "def test_seeded(insightly_sandbox):\n"
        "    assert insightly_sandbox.store.count('contacts') == 10\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_page_names_every_switch_and_operation() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [field.name for field in fields(Switches) if f"| `{field.name}`" not in page] == []
    assert [f"{method} {name}" for method, name in OPERATIONS if f"| {method} | `/_sandbox/{name}`" not in page] == []


def test_curl_lines_of_the_page_work(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in re.findall(r"^curl .*$", text, re.MULTILINE)]
    assert len(lines) > 8
    with Sandbox(scale=0.01, switches=OPEN) as sandbox:
        values = {"$SANDBOX": sandbox.url.removesuffix("/v3.1"), "$KEY": sandbox.key}
        for line in lines:
            for name, value in values.items():
                line = [word.replace(name, value) for word in line]
            assert curl(line, tmp_path) == 0, line


def curl(line: list[str], folder: Path) -> int:
    """Runs a line of curl; the machine may have no curl, and the few options of the page are those of requests too."""
    if shutil.which("curl"):
        return subprocess.run([*line, "--fail", "-o", "answer"], cwd=folder, check=False).returncode
    options = argparse.ArgumentParser()
    options.add_argument("-s", action="store_true")
    options.add_argument("-u", default="")
    options.add_argument("-X", default="GET")
    options.add_argument("-d")
    options.add_argument("-o")
    options.add_argument("url")
    args = options.parse_args(line[1:])
    response = requests.request(args.X, args.url, data=args.d, auth=(args.u.rstrip(":"), ""), timeout=10)
    return not response.ok
