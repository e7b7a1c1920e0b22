"""Lists whose X-Total-Count is not their number of rows: they are read to their end, and the difference is reported."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipelines.commands.sweep import sweep
from pipelines.commands.verify import verify
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
    assert again.watermark != first["contacts"].watermark
    proof = verify(crm.settings(), crm.target, ["contacts"], full=True).entities["contacts"]
    assert proof.facts["proved"]
    assert f"the API counts {rows + error:,} and lists {rows}" in proof.schema_changes
    crm.sandbox.store.delete("contacts", crm.sandbox.store.tables["contacts"].keys[3])
    assert sweep(crm.settings(), crm.target, ["contacts"]).entities["contacts"].deleted == 1
