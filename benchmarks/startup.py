"""Start-up: the help, the imports, and a sync without changes."""

import subprocess
import sys

from pipelines.sandbox import DEMO_KEY

from .measure import ROOT, UNLIMITED, InsightlySync, Result, median, sandbox, timed

HELP, UNCHANGED = 0.1, {"core": 1.0, "all": 2.0}
"""Seconds at most: for the help, and for a sync without changes of the 17 and of all entities."""
HEAVY = ("dlt", "duckdb", "pyarrow", "pandas", "numpy", "requests", "sqlglot", "pendulum", "orjson", "rich")


def imported() -> list[tuple[str, float]]:
    """Seconds to import each of the heavy packages for a sync, including their own imports."""
    command = [sys.executable, "-X", "importtime", "-c", "import pipelines.commands.sync"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    found = {}
    for line in lines.splitlines():
        _, _, rest = line.partition("|")
        cumulative, _, name = rest.partition("|")
        if name.strip() in HEAVY:
            found[name.strip()] = int(cumulative) / 1e6
    return sorted(found.items(), key=lambda item: -item[1])


def measure(rounds: int = 5) -> Result:
    env = {"PYTHONPATH": str(ROOT)}
    help_ = median([timed([sys.executable, "-m", "pipelines.cli", "--help"], env) for _ in range(rounds)])
    imports = median([timed([sys.executable, "-c", "import pipelines.commands.sync"], env) for _ in range(rounds)])
    with (
        sandbox("--rate", "0", "--quota", "0") as url,
        InsightlySync(url, requests_per_second=UNLIMITED, api_key=DEMO_KEY) as insightly,
    ):
        first, _ = insightly.sync("core")
        again = {"core": median([insightly.sync("core")[0] for _ in range(rounds)])}
        insightly.sync("all")
        again["all"] = median([insightly.sync("all")[0] for _ in range(rounds)])
    result = Result(
        "Start-up",
        f"Medians of {rounds}; the CRM is the bundled sandbox, without limits, on loopback.",
        ["", "seconds"],
        [
            ["`insightly --help`", f"{help_.seconds:.2f}"],
            ["imports of a sync", f"{imports.seconds:.2f}"],
            ["unchanged sync of the 17 entities", f"{again['core'].seconds:.2f}"],
            ["unchanged sync of all entities", f"{again['all'].seconds:.2f}"],
            ["first sync of the 17 entities", f"{first.seconds:.2f}"],
        ],
        bars=[
            ("insightly --help", help_.seconds),
            ("imports of a sync", imports.seconds),
            ("insightly sync, unchanged", again["core"].seconds),
            ("insightly sync all, unchanged", again["all"].seconds),
            ("insightly sync, first", first.seconds),
        ],
        unit="s",
    )
    result.target(f"`--help`: {help_.seconds:.2f} s, below {HELP}", help_.seconds < HELP)
    for entities, run in again.items():
        bound = UNCHANGED[entities]
        result.target(f"unchanged sync of {entities}: {run.seconds:.2f} s, below {bound:g}", run.seconds < bound)
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in imported())
    result.notes.append(f"Imports, measured with `python -X importtime`, each including its own imports: {parts}.")
    return result
