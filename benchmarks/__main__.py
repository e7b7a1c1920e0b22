"""Runs benchmarks (default: all), saves their results, and writes `docs/why/benchmarks.md`.

python -m benchmarks [NAME ...] [--render]
"""

import argparse
import importlib
import json
from dataclasses import asdict

from .measure import ROOT, Result
from .render import machine, page

PROGRAMS = ("limit", "cpu", "calls", "growth", "startup", "dashboard", "tags", "size", "accounts")
RESULTS = ROOT / "benchmarks/results"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PROGRAMS)}")
    parser.add_argument("--render", action="store_true", help="measure nothing, only write the page")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PROGRAMS):
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(PROGRAMS)}")
    RESULTS.mkdir(exist_ok=True)
    for name in () if options.render else options.names or PROGRAMS:
        print(f"{name} …", flush=True)
        result: Result = importlib.import_module(f"benchmarks.{name}").measure()
        result.machine = machine()
        (RESULTS / f"{name}.json").write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
        print(*(" | ".join(row) for row in (result.head, *result.rows)), sep="\n")
        print(*(f"{'met' if met else 'MISSED'}: {text}" for text, met in result.targets), *result.notes, sep="\n")
    files = {name: RESULTS / f"{name}.json" for name in PROGRAMS}
    page({name: Result(**json.loads(file.read_text())) for name, file in files.items() if file.exists()})


if __name__ == "__main__":
    main()
