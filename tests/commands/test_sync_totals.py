"""Lists whose X-Total-Count is not their number of rows: they are read to their end, and the difference is reported.

Where such a list ends at a page without a row, the next run reads it again before the watermark moves.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipelines.commands.sweep import sweep
from pipelines.commands.verify import verify
from pipelines.sandbox import Store
from pipelines.sandbox.api.exchange import Request, Response
from pipelines.sandbox.http import service
from pipelines.sandbox.switches import Switches
from tests.support.crm import OPEN, Crm

MakeCrm = Callable[..., Crm]


@pytest.mark.sample(1)
@pytest.mark.parametrize("error", [1, -1, 10**9])
def test_wrong_total_costs_a_few_calls_and_is_reported(make_crm: MakeCrm, error: int) -> None:
    crm, names = make_crm(0.02, switches=replace(OPEN, total_error=error)), ("contacts", "emails", "tags")
    rows = len(crm.sandbox.store.tables["contacts"].keys)
    first = crm.sync_done(*names, page_size=5, chunk_calls=4, max_connections=2).entities
    assert first["contacts"].rows == rows
    assert first["contacts"].calls <= (rows - 2) // 4 + 1 + 4
    for name in names:
        assert any("the API counts" in note for note in first[name].schema_changes), name
    crm.assert_equal("contacts", "tags")
    again = crm.sync_done("contacts").entities["contacts"]
    assert again.calls <= 2
    if error > 0:  # counts rows of an empty list, which it may have left out
        assert again.watermark == first["contacts"].watermark
        again = crm.sync_done("contacts").entities["contacts"]
    assert again.watermark != first["contacts"].watermark
    proof = verify(crm.settings(), crm.target, ["contacts"], full=True).entities["contacts"]
    assert proof.facts["proved"]
    assert f"the API counts {rows + error:,} and lists {rows}" in proof.schema_changes
    crm.sandbox.store.delete("contacts", crm.sandbox.store.tables["contacts"].keys[3])
    assert sweep(crm.settings(), crm.target, ["contacts"]).entities["contacts"].deleted == 1


@pytest.mark.sample(1)
@pytest.mark.parametrize("pages", [0, 3])
@pytest.mark.parametrize("when", ["first", "incremental"])
def test_rows_come_with_the_next_sync_if_pages_are_empty_for_a_while(
    make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch, when: str, pages: int
) -> None:
    """After so many good pages, and whether or not there is a watermark; also the rows under the records of a list."""
    crm, names = make_crm(0.02), ("contacts", "notes", "opportunity_state_history")
    store = crm.sandbox.store
    if when == "incremental":
        crm.first_sync(*names)
        for entity in ("contacts", "notes", "opportunities"):
            for key in store.tables[entity].keys[:30]:
                store.update(entity, key, {"VISIBLE_TO": "OWNER"})
    good, answered = service.handle, Counter[str]()

    def spoiled(request: Request, store: Store, switches: Switches) -> Response:
        answered[request.path] += 1
        response = good(request, store, switches)
        return replace(response, body=b"[]") if answered[request.path] > pages and "skip" in request.query else response

    with monkeypatch.context() as patch:
        patch.setattr(service, "handle", spoiled)
        report = crm.sync(*names, page_size=5)
    cut = {name for name, each in report.entities.items() if each.watermark == each.watermark_before}
    assert cut == set(names) if pages == 0 else "contacts" in cut
    for entity in (report.entities[name] for name in cut):
        assert entity.state == "failed" or any("without a row" in note for note in entity.schema_changes)
    crm.sync_done(*names, page_size=5)
    crm.assert_equal(*names)
