"""Numbers are DECIMAL(38,9): exact beside a rounded column, and in tables of an earlier version as well."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipelines.commands.verify_rows import differences
from sources.insightly.rows import arrow
from sources.insightly.rows.shaper import ShapedTable
from tests.support.commands import verified
from tests.support.crm import Crm
from tests.support.expected import Row

D = Decimal
MakeCrm = Callable[..., Crm]
DEALS = {1: 0.1234567885, 2: 0.123456789012345, 3: 0.3333333333333333, 4: 12.5, 5: 99999999999.99}


def put_deals(crm: Crm) -> None:
    template = crm.sandbox.store.rows("opportunities")[0]
    for id_ in [row["OPPORTUNITY_ID"] for row in crm.sandbox.store.rows("opportunities")]:
        crm.sandbox.store.delete("opportunities", id_)
    for id_, value in DEALS.items():
        crm.sandbox.store.put_raw("opportunities", {**template, "OPPORTUNITY_ID": id_, "OPPORTUNITY_VALUE": value})


def values(crm: Crm, columns: str) -> list[Row]:
    return crm.read(f"select {columns} from insightly.opportunities where _deleted_at is null order by opportunity_id")


@pytest.mark.everywhere("postgres")
def test_three_amounts_can_be_multiplied(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.005)
    put_deals(crm)
    crm.sync_done("opportunities")
    a, text = "opportunity_value", "opportunity_value__v_text"
    loaded = values(crm, f"{a} as value, {text} as text")
    assert [row["value"] for row in loaded] == [
        Decimal(value) for value in ("0.123456789", "0.123456789", "0.333333333", "12.5", "99999999999.99")
    ]
    assert [row["text"] for row in loaded] == ["0.1234567885", "0.123456789012345", "0.3333333333333333", None, None]
    where = "from insightly.opportunities where opportunity_id = 4"
    (product,) = crm.read(f"select {a} * {a} * {a} as three, {a} * {a} * 0.01 as percent {where}")
    assert (product["three"], product["percent"]) == (Decimal("1953.125"), Decimal("1.5625"))


@pytest.mark.everywhere("postgres", "delta")
def test_tables_of_an_earlier_version_keep_their_width(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm(scale=0.005)
    put_deals(crm)
    with monkeypatch.context() as earlier:
        set_width(earlier, 15)
        crm.sync_done("opportunities")
    width = crm.columns("opportunities")["opportunity_value"]
    assert width.replace(" ", "").lower() in ("decimal(38,15)", "numeric(38,15)")
    verified(crm, "opportunities", full=True)

    crm.sandbox.store.update("opportunities", 4, {"OPPORTUNITY_VALUE": 99999999999999999999999})
    crm.sandbox.store.update("opportunities", 3, {"OPPORTUNITY_VALUE": 1.00000000055})
    crm.sync_done("opportunities")
    assert crm.columns("opportunities")["opportunity_value"] == width
    loaded = values(crm, "opportunity_value as value, opportunity_value__v_text as text")
    assert [row["value"] for row in loaded[1:4]] == [
        Decimal(value) for value in ("0.123456789012345", "1.000000001", "99999999999999999999999")
    ]
    assert loaded[2]["text"] == "1.00000000055"
    verified(crm, "opportunities", full=True)

    crm.change("update insightly.opportunities set opportunity_value = 0.123456788 where opportunity_id = 1")
    verified(crm, "opportunities", full=True, code=4)


def set_width(patch: pytest.MonkeyPatch, scale: int) -> None:
    """Numbers as an earlier version stored them: exact with up to 15 decimals, else only as text."""
    decimal = pa.decimal128(38, scale)
    patch.setattr(arrow, "DECIMAL", decimal)
    patch.setattr(arrow, "ARROW", {**arrow.ARROW, "number": decimal})
    patch.setattr(arrow, "LAST_DIGIT", Decimal(1).scaleb(-scale))

    def exact_or_nothing(value: Any) -> Decimal:
        exact = Decimal(repr(value) if isinstance(value, float) else value)
        if (rounded := arrow.round_number(exact)) != exact:
            raise arrow._InvalidValue
        return rounded

    patch.setattr(arrow, "_convert_decimal", exact_or_nothing)


@pytest.mark.parametrize(
    ("api", "loaded", "same"),
    [
        ((D("0.333333333"), "0.3333333333333333"), (None, "0.3333333333333333"), True),
        ((D("0.123456789"), "0.123456789012"), (D("0.123456789012"), None), True),
        ((D("0.123456789"), "0.123456789012"), (D("0.123456789"), None), False),
        ((D("0.123456789"), "0.123456789012"), (D("0.123456788"), "0.123456789012"), False),
        ((D("0E-9"), "1e-10"), (D("0E-9"), "1E-10"), True),
        ((None, "NaN"), (None, "NaN"), True),
        ((None, "1" + 23 * "0"), (None, "1" + 23 * "0"), True),
        ((D("12.5"), None), (D("12.500000000"), None), True),
    ],
)
def test_rounded_number_is_not_a_difference(
    api: tuple[Decimal | None, str | None], loaded: tuple[Decimal | None, str | None], same: bool
) -> None:
    types = {"id": pa.int64(), "value": pa.decimal128(38, 9), "value__v_text": pa.string()}
    rows = pa.Table.from_pylist([dict(zip(types, (1, *api), strict=True))], pa.schema(list(types.items())))
    shaped = ShapedTable("deals", rows, ("id",), None)
    found = differences(shaped, [dict(zip(types, (1, *loaded), strict=True))], str)
    assert (found == {}) == same, found
