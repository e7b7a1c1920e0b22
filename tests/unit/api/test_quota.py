"""The laws of the budget."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.insightly.api.quota import CallBudget
from sources.insightly.errors import BudgetExhausted, QuotaExhausted, Stop


@given(limit=st.integers(0, 50), asked=st.integers(0, 80))
def test_max_calls_is_never_passed(limit, asked):
    budget, sent = CallBudget(limit), 0
    for _ in range(asked):
        assert budget.left() == limit - sent
        try:
            budget.take()
        except BudgetExhausted:
            assert sent == limit
            continue
        sent += 1
        budget.record()
    assert budget.calls == sent == min(limit, asked)


@given(
    quota=st.integers(0, 60),
    reserve=st.integers(0, 40),
    moves=st.lists(st.integers(0, 7), max_size=200),
)
def test_answers_in_any_order_never_hide_calls_or_touch_the_reserve(quota, reserve, moves):
    """Calls go out and answers come back in random order; the service counts a call when it is sent."""
    budget, left, flying = CallBudget(None, reserve), quota, []
    blind = 0
    for move in moves:
        if move < 4 and len(flying) < 8:
            try:
                ticket = budget.take()
            except Stop:
                continue
            blind += budget.remaining is None
            left = max(left - 1, 0)
            flying.append((left, ticket))
        elif flying:
            remaining, ticket = flying.pop(move % len(flying))
            budget.record(remaining, ticket)
        if budget.remaining is not None:
            assert budget.remaining >= left
            assert budget.remaining - len(flying) <= left
        bound = budget.left()
        assert bound is None or bound <= max(left - reserve, 0)
    if reserve:
        assert left >= min(reserve, quota) - blind


def test_one_after_the_other_the_reserve_is_exact():
    budget, left = CallBudget(reserve=95), 100
    for _ in range(5):
        ticket = budget.take()
        left -= 1
        budget.record(left, ticket)
    with pytest.raises(BudgetExhausted, match="quota_reserve is 95 and 95 calls"):
        budget.take()
    assert (left, budget.left()) == (95, 0)


def test_an_overtaken_answer_does_not_raise_the_count():
    budget = CallBudget()
    first, second = budget.take(), budget.take()
    budget.record(98, second)
    budget.record(99, first)
    assert budget.remaining == 98


def test_a_call_sent_after_the_lowest_count_shows_the_new_day():
    budget = CallBudget()
    old = budget.take()
    budget.record(3, budget.take())
    budget.record(900, old)
    assert budget.remaining == 3
    budget.record(999, budget.take())
    assert budget.remaining == 999


def test_none_left_stops_before_the_next_call():
    budget = CallBudget()
    budget.record(0, budget.take())
    for refused in (budget.take, budget.check):
        with pytest.raises(QuotaExhausted, match="Run again"):
            refused()
    assert (budget.calls, budget.left()) == (1, 0)


def test_a_day_that_was_declared_over_stays_over():
    budget = CallBudget()
    late, later = budget.take(), budget.take()
    budget.spend_day()
    budget.record(50, late)
    budget.record(5000, later)
    assert (budget.left(), budget.remaining) == (0, 0)
    with pytest.raises(QuotaExhausted):
        budget.take()


def test_left_knows_nothing_until_told():
    budget = CallBudget()
    assert budget.left() is None
    ticket = budget.take()
    assert budget.left() is None
    budget.record(None, ticket)
    assert budget.left() is None
    budget.record(10, budget.take())
    assert budget.left() == 10


def test_left_takes_off_what_is_in_flight():
    budget = CallBudget(max_calls=100, reserve=2)
    budget.record(10, budget.take())
    budget.take()
    assert budget.left() == 7


def test_calls_are_counted_a_label_each():
    budget = CallBudget(3)
    for label in ("contacts", "contacts", "leads"):
        budget.take(label)
    with pytest.raises(BudgetExhausted, match="max_calls is 3 and 3 calls"):
        budget.take("leads")
    counts = budget.by_label
    assert counts == Counter(contacts=2, leads=1)
    counts["leads"] = 99
    assert budget.by_label["leads"] == 1


def test_threads_share_one_count():
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
