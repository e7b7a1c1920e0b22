"""The rules of the call budget."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.api.quota import CallBudget
from sources.insightly.errors import BudgetExhausted, QuotaExhausted, Stop


@given(limit=st.integers(0, 50), takes=st.integers(0, 80))
def test_budget_never_exceeds_max_calls(limit, takes):
    budget, sent = CallBudget(limit), 0
    for _ in range(takes):
        assert budget.left() == limit - sent
        try:
            budget.take()
        except BudgetExhausted:
            assert sent == limit
            continue
        sent += 1
        budget.record()
    assert budget.calls == sent == min(limit, takes)


@given(
    quota=st.integers(0, 60),
    reserve=st.integers(0, 40),
    steps=st.lists(st.integers(0, 7), max_size=200),
)
def test_responses_in_any_order_neither_hide_calls_nor_use_the_reserve(quota, reserve, steps):
    """Calls leave and responses return in random order; the service counts a call when it is sent."""
    budget, left, in_flight = CallBudget(None, reserve), quota, []
    blind = 0
    for step in steps:
        if step < 4 and len(in_flight) < 8:
            try:
                ticket = budget.take()
            except Stop:
                continue
            blind += budget.remaining is None
            left = max(left - 1, 0)
            in_flight.append((left, ticket))
        elif in_flight:
            remaining, ticket = in_flight.pop(step % len(in_flight))
            budget.record(remaining, ticket)
        if budget.remaining is not None:
            assert budget.remaining >= left
            assert budget.remaining - len(in_flight) <= left
        bound = budget.left()
        assert bound is None or bound <= max(left - reserve, 0)
    if reserve:
        assert left >= min(reserve, quota) - blind


def test_reserve_is_exact_for_sequential_calls():
    budget, left = CallBudget(reserve=95), 100
    for _ in range(5):
        ticket = budget.take()
        left -= 1
        budget.record(left, ticket)
    with pytest.raises(BudgetExhausted, match="quota_reserve is 95 and 95 calls"):
        budget.take()
    assert (left, budget.left()) == (95, 0)


def test_overtaken_response_does_not_raise_the_count():
    budget = CallBudget()
    first, second = budget.take(), budget.take()
    budget.record(98, second)
    budget.record(99, first)
    assert budget.remaining == 98


def test_call_after_the_lowest_count_shows_the_new_day():
    budget = CallBudget()
    old = budget.take()
    budget.record(3, budget.take())
    budget.record(900, old)
    assert budget.remaining == 3
    budget.record(999, budget.take())
    assert budget.remaining == 999


def test_budget_stops_before_a_call_if_none_is_left():
    budget = CallBudget()
    budget.record(0, budget.take())
    for refused in (budget.take, budget.check):
        with pytest.raises(QuotaExhausted, match="Run again"):
            refused()
    assert (budget.calls, budget.left()) == (1, 0)


def test_spent_day_stays_spent():
    budget = CallBudget()
    late, later = budget.take(), budget.take()
    with pytest.raises(QuotaExhausted, match=r"^GET /Contacts: 429$"):
        budget.spend_day("GET /Contacts: 429")
    budget.record(50, late)
    budget.record(5000, later)
    assert (budget.left(), budget.remaining) == (0, 0)
    with pytest.raises(QuotaExhausted):
        budget.take()


def test_every_thread_stops_for_the_first_reason_of_a_spent_day():
    budget = CallBudget()
    budget.take()
    for reason in ("GET /Contacts: 429", "GET /Notes: 429"):
        with pytest.raises(QuotaExhausted, match=f"^{reason}$"):
            budget.spend_day(reason)
    budget.record(0)
    for refused in (budget.take, budget.check):
        with pytest.raises(QuotaExhausted, match=r"^GET /Contacts: 429$"):
            refused()


def test_left_is_none_before_the_first_count():
    budget = CallBudget()
    assert budget.left() is None
    ticket = budget.take()
    assert budget.left() is None
    budget.record(None, ticket)
    assert budget.left() is None
    budget.record(10, budget.take())
    assert budget.left() == 10


def test_left_excludes_calls_in_flight():
    budget = CallBudget(max_calls=100, reserve=2)
    budget.record(10, budget.take())
    budget.take()
    assert budget.left() == 7


def test_budget_counts_calls_by_label():
    budget = CallBudget(3)
    for label in ("contacts", "contacts", "leads"):
        budget.take(label)
    with pytest.raises(BudgetExhausted, match="max_calls is 3 and 3 calls"):
        budget.take("leads")
    counts = budget.by_label
    assert counts == Counter(contacts=2, leads=1)
    counts["leads"] = 99
    assert budget.by_label["leads"] == 1


def test_threads_share_one_budget():
    budget, sent = CallBudget(500), []

    def worker():
        try:
            while True:
                sent.append(budget.take())
                budget.record()
        except BudgetExhausted:
            pass

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(sent) == list(range(1, 501))
