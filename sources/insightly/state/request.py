"""What a run asks of one entity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What a run asks of every entity.

    `start_date` is the lower bound set for first runs: an earlier one than was loaded from is walked from. `full` means
    everything again, `since` again from that moment on, `full_before` everything again where the last such walk began
    before that moment. `rest` means what changed, where an earlier run of the same full read has everything else.
    `whole` means everything again in every run, for there is no cursor. `mask` tells what is hashed or left out: where
    it differs, everything is read again. `run` tells the runs apart.
    """

    start_date: str | None = None
    full: bool = False
    since: str | None = None
    full_before: str | None = None
    rest: bool = False
    whole: bool = False
    mask: str = ""
    run: str = ""


def resume_full(
    request: ReadRequest, states: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, ReadRequest]:
    """The requests for `names` where `request` asks for a full read that an earlier run began; {} where it is new.

    Repeated within a budget, a full read thus comes to an end, and only then the next begins.
    """
    known = {name: states.get(name, {}) for name in names}
    begun = {state["full"] for state in known.values() if "full" in state}
    if not request.full or not begun:
        return {}
    whole = replace(request, run=min(begun))
    rest = replace(whole, full=False, rest=True)

    def done(state: Mapping[str, Any]) -> bool:
        again = any("again" in each for each in (state, *state.get("under", {}).values()))
        return not again and ("full" in state or state.get("full_done") in begun)

    return {name: rest if done(state) else whole for name, state in known.items()}
