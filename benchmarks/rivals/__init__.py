"""Other tools: each module is a program that loads the contacts of a service into a DuckDB file."""

import sys
import tempfile
from pathlib import Path

from ..measure import ROOT, Run, timed

HERE = Path(__file__).parent
ENVIRONMENT = ROOT / ".benchmarks/airbyte"
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}


def run(name: str, url: str, *arguments: str, python: str | Path = sys.executable, file: Path | None = None) -> Run:
    """One run of another tool, into `file` or into a temporary file."""
    with tempfile.TemporaryDirectory(prefix="insightly-benchmark-") as folder:
        env = {**QUIET, "DLT_DATA_DIR": folder, "TMPDIR": folder}
        return timed([python, HERE / f"{name}.py", url, file or Path(folder) / "rival.duckdb", *arguments], env)
