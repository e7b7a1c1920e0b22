"""The command `insightly sandbox`: serves a fake Insightly on loopback, and prints how to use it."""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from pipelines.sandbox import Sandbox, Switches, read_faults


def serve(args: argparse.Namespace) -> int:
    """Serves until interrupted. `args` has port, seed, scale, rate, quota, latency and faults."""
    switches = Switches(rate=int(args.rate) or None, quota=args.quota or None, latency=args.latency)
    faults = read_faults(Path(args.faults)) if args.faults else ()
    sandbox = Sandbox(args.seed, args.scale, switches=switches, faults=faults, port=args.port)
    sys.stdout.write(
        f"Sandbox at {sandbox.url}; press Ctrl-C to stop. In another terminal:\n\n"
        f"  export SOURCES__INSIGHTLY__BASE_URL={sandbox.url}\n"
        f"  export SOURCES__INSIGHTLY__API_KEY={sandbox.key}\n"
        "  insightly sync --database sandbox.duckdb\n"
    )
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        sandbox.serve_forever()
    return 0
