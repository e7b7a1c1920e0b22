"""Airbyte's own source for Insightly, as PyPI has it, against the sandbox."""

import json
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.sandbox import Sandbox, Switches
from pipelines.sandbox.api.reads import CONVERTED_STATUS
from sources.insightly.entities import ENTITIES
from tests.support.process import ROOT

PYTHON, SOURCE = ROOT / ".venv-airbyte/bin/python", ROOT / "tests/support/airbyte_source.py"
NO_LIMIT = Switches(rate=None)


def messages(sandbox: Sandbox, command: str, **options: Path) -> list[dict[str, Any]]:
    """What the source prints for a command of the Airbyte protocol."""
    arguments = [part for name, path in options.items() for part in (f"--{name}", path)]
    done = subprocess.run(
        [PYTHON, SOURCE, sandbox.url, command, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def saved(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.sample(0)
def test_the_source_of_airbyte_reads_every_record_once(tmp_path: Path) -> None:
    with Sandbox(seed=1, scale=0.4, switches=NO_LIMIT) as sandbox:
        # The source reads each list once a month since the start.
        start = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
        config = saved(tmp_path / "config.json", {"token": sandbox.key, "start_date": start})
        status = {"type": "CONNECTION_STATUS", "connectionStatus": {"status": "SUCCEEDED"}}
        assert status in messages(sandbox, "check", config=config)

        found = messages(sandbox, "discover", config=config)
        streams = next(each for each in found if each["type"] == "CATALOG")["catalog"]["streams"]
        full = {"sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
        catalog = saved(tmp_path / "catalog.json", {"streams": [{"stream": each, **full} for each in streams]})
        sandbox.reset_log()
        read = defaultdict(list)
        for message in messages(sandbox, "read", config=config, catalog=catalog):
            if message["type"] == "RECORD":
                read[message["record"]["stream"]].append(message["record"]["data"])

        assert len(read) == len(streams) == 28
        for name, rows in read.items():
            key = ENTITIES[name].key[0]
            stored = sandbox.store.rows(name)
            if name == "lead_statuses":  # lists the status of converted leads on request only
                stored = [row for row in stored if row["STATUS_TYPE"] != CONVERTED_STATUS]
            assert [row[key] for row in rows] == [row[key] for row in stored], name
        assert len(sandbox.log) > len(streams)
        assert {call.status for call in sandbox.log} == {200}
