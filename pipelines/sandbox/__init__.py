"""A fake Insightly CRM API v3.1 on loopback, for the demo and the tests.

    with Sandbox(seed=1, scale=1) as sandbox:
        ...  # sandbox.url, sandbox.key, sandbox.store, sandbox.log

It shares the entity table with the source, and no behaviour. `Switches` set what it does where the real service is
undocumented; `Fault` sets what goes wrong.
"""

from pipelines.sandbox.http.limits import Limits
from pipelines.sandbox.http.server import DEMO_KEY, Sandbox
from pipelines.sandbox.http.service import Call
from pipelines.sandbox.seed.evolve import evolve
from pipelines.sandbox.seed.generate import SEED_NOW, generate
from pipelines.sandbox.store.store import Contents, Store

from .faults import Fault, read_faults
from .switches import Switches

__all__ = [
    "DEMO_KEY",
    "SEED_NOW",
    "Call",
    "Contents",
    "Fault",
    "Limits",
    "Sandbox",
    "Store",
    "Switches",
    "evolve",
    "generate",
    "read_faults",
]
