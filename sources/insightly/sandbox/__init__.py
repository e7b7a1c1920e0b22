"""A fake Insightly CRM API v3.1 on loopback, for the demo and the tests.

    with Sandbox(seed=1, scale=1) as sandbox:
        ...  # sandbox.url, sandbox.key, sandbox.store, sandbox.log

It shares the entity table with the source, and no behaviour. What it does where the real service is open or unknown is
set by `Switches`; what goes wrong is set by `Fault`.
"""

from .edits import evolve
from .faults import Fault, FaultScript, read_faults
from .limits import Limits
from .objects import define_object, remove_object
from .seed import SEED_NOW, generate
from .server import DEMO_KEY, Sandbox
from .service import Call
from .store import Contents, Store
from .switches import Switches

__all__ = [
    "DEMO_KEY",
    "SEED_NOW",
    "Call",
    "Contents",
    "Fault",
    "FaultScript",
    "Limits",
    "Sandbox",
    "Store",
    "Switches",
    "define_object",
    "evolve",
    "generate",
    "read_faults",
    "remove_object",
]
