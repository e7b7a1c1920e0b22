"""The command `insightly sandbox`: serves a fake Insightly, and prints how to use it."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson

from pipelines.sandbox import DEMO_KEY, Call, Contents, Fault, Sandbox, Switches
from pipelines.sandbox.store.fixtures import check


def switches_of(args: argparse.Namespace) -> Switches:
    """The switches of `--switch NAME=VALUE`, `--rate`, `--quota` and `--latency`. Raises ValueError."""
    switches = Switches(rate=int(args.rate) or None, quota=args.quota or None, latency=args.latency)
    pairs = [text.partition("=") for text in args.switch]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{wrong[0]} has no value: write NAME=VALUE")
    return switches.set({name.strip(): value.strip() for name, _, value in pairs})


def read_fixtures(path: str) -> Any:
    """The records of a JSON file. Raises OSError or ValueError if it cannot be read."""
    data = orjson.loads(Path(path).read_bytes())
    check(data)
    return data


def sandbox(args: argparse.Namespace, switches: Switches, faults: Iterable[Fault], fixtures: Any) -> Sandbox:
    """A sandbox on its port. Raises OSError if the port is taken, or the host is not one of this machine."""
    return Sandbox(
        args.seed,
        args.scale,
        switches=switches,
        faults=faults,
        contents=Contents() if args.empty else None,
        key=args.key or DEMO_KEY,
        host=args.host,
        port=args.port,
        fixtures=fixtures,
        on_call=_write_call if args.log else lambda _: None,
    )


def serve(sandbox: Sandbox) -> None:
    """Says how to use a sandbox, and serves until interrupted."""
    if not ip_address(sandbox.address).is_loopback:
        sys.stderr.write(
            f"Other machines can reach this sandbox at {sandbox.address}, with the key and without encryption.\n"
        )
    exports = "".join(f"  export {name}={value}\n" for name, value in sandbox.settings.items())
    sys.stdout.write(
        f"Sandbox at {sandbox.url}; press Ctrl-C to stop. In another terminal:\n\n"
        f"{exports}  insightly sync --database sandbox.duckdb\n"
    )
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        sandbox.serve_forever()


def _write_call(call: Call) -> None:
    query = "&".join(f"{name}={value}" for name, value in call.query.items())
    sys.stderr.write(f"{call.status or 'cut'} {call.method} {call.path}{'?' if query else ''}{query}\n")
