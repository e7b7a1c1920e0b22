"""The question of a push, on a real terminal."""

import pytest

from tests.support.crm import Crm
from tests.support.push import csv, ids, jsonl, people
from tests.support.terminal import Terminal

QUESTION = "Continue? [y/N] "


@pytest.mark.parametrize(
    ("keys", "code", "created", "words"),
    [
        ("y\n", 0, 1, "1 created"),
        ("\n", 1, 0, "not confirmed: nothing was sent"),
        ("\x04", 1, 0, "not confirmed: nothing was sent"),  # Ctrl-D
        ("\x03", 130, 0, "insightly: interrupted"),  # Ctrl-C
    ],
    ids=["yes", "enter", "ctrl-d", "ctrl-c"],
)
def test_question_stays_on_the_screen_until_it_is_answered(
    crm: Crm, keys: str, code: int, created: int, words: str
) -> None:
    before, source = len(ids(crm, "contacts")), jsonl(crm, people("Ann"))
    with Terminal(crm, ["push", "contacts", source, "--op", "create"]) as terminal:
        shown = terminal.read_until(QUESTION)
        assert "contacts: 1 row, 1 to create" in terminal.text
        assert "\x1b[?25h" in shown[shown.rindex("\x1b[?25l") :]  # the live line has shown the cursor again
        assert terminal.written_in(0.5) == ""  # the live line is drawn ten times a second
        terminal.type(keys)
        terminal.read_until(words)
        assert terminal.end() == code
    assert "Traceback" not in terminal.text
    assert len(ids(crm, "contacts")) == before + created


def test_yes_asks_no_question_on_a_terminal(crm: Crm) -> None:
    key = ids(crm, "contacts")[0]
    with Terminal(crm, ["push", "contacts", csv(crm, f"contact_id\n{key}\n"), "--op", "delete", "--yes"]) as terminal:
        terminal.read_until("1 deleted")
        assert terminal.end() == 0
    assert QUESTION not in terminal.text
    assert key not in ids(crm, "contacts")
