"""The command `insightly` in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.sandbox import Sandbox

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str, cwd: Path, **environment: str) -> Ran:
    """Runs `insightly` in a process of its own."""
    home = {"DLT_DATA_DIR": str(cwd / "dlt"), "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **home, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def reach(sandbox: Sandbox) -> dict[str, str]:
    """The settings, as environment variables, that lead a process to the account."""
    return {
        "SOURCES__INSIGHTLY__BASE_URL": sandbox.url,
        "SOURCES__INSIGHTLY__API_KEY": sandbox.key,
        "SOURCES__INSIGHTLY__REQUESTS_PER_SECOND": "1000",
        "SOURCES__INSIGHTLY__ENTITIES": "core",
    }
