"""How long it takes to get going: the help, the imports, and a run that finds nothing new."""

import sys

from .measure import ROOT, UNLIMITED, Ours, Result, median, sandbox, timed, verdict

ROUNDS = 5


def run() -> Result:
    env = {"PYTHONPATH": str(ROOT)}
    help_ = median([timed([sys.executable, "-m", "pipelines.cli", "--help"], env) for _ in range(ROUNDS)])
    imports = median([timed([sys.executable, "-c", "import pipelines.run"], env) for _ in range(ROUNDS)])
    with sandbox("--rate", "0", "--quota", "0") as url, Ours(url, requests_per_second=UNLIMITED) as ours:
        first, _ = ours.sync("core")
        again = median([ours.sync("core")[0] for _ in range(ROUNDS)])
    return Result(
        "Start-up",
        ["", "seconds"],
        [
            ["`insightly --help`", f"{help_.seconds:.2f}"],
            ["imports of a sync (dlt, pyarrow, requests)", f"{imports.seconds:.2f}"],
            ["first sync of the 17 entities, bundled sandbox", f"{first.seconds:.2f}"],
            ["unchanged sync of the 17 entities, bundled sandbox", f"{again.seconds:.2f}"],
        ],
        [f"Targets 0.3 s and 3 s: {verdict(help_.seconds < 0.3 and again.seconds < 3)}"],
    )
