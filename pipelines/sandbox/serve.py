"""The command `insightly sandbox`: serves a fake Insightly on loopback, and prints how to use it."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress

from pipelines.sandbox import Fault, Sandbox, Switches, read_faults


def read_script(path: str | None) -> list[Fault]:
    """The faults of a script. Raises OSError or ValueError if it cannot be read."""
    return read_faults(path) if path else []


def sandbox(args: argparse.Namespace, faults: Sequence[Fault]) -> Sandbox:
    """A sandbox on its port; `args` has port, seed, scale, rate, quota and latency. Raises OSError if it is taken."""
    switches = Switches(rate=int(args.rate) or None, quota=args.quota or None, latency=args.latency)
    return Sandbox(args.seed, args.scale, switches=switches, faults=faults, port=args.port)


def serve(sandbox: Sandbox) -> None:
    """Says how to use a sandbox, and serves until interrupted."""
    sys.stdout.write(
        f"Sandbox at {sandbox.url}; press Ctrl-C to stop. In another terminal:\n\n"
        f"  export SOURCES__INSIGHTLY__BASE_URL={sandbox.url}\n"
        f"  export SOURCES__INSIGHTLY__API_KEY={sandbox.key}\n"
        "  insightly sync --database sandbox.duckdb\n"
    )
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        sandbox.serve_forever()
