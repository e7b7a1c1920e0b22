"""Messages have no secret, no value of a record, and no characters that steer a terminal."""

import io
import logging

import pytest
from rich.console import Console

from pipelines.cli.logs import StderrHandler
from pipelines.cli.tables import escape
from sources.insightly import errors
from sources.insightly.errors import BadSetting, InsightlyError, clean, describe, redact, register_secret


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_secrets", set())


@pytest.mark.parametrize("secret", ["pass word", 'p@ss"w\\rd', "%40pass", "pä$$"])
def test_registered_secret_is_in_no_message_in_any_form(secret: str) -> None:
    register_secret(secret)
    for form in (secret, repr(secret)[1:-1], errors.quote(secret, safe=""), errors.json.dumps(secret)[1:-1]):
        for text in (str(InsightlyError(f"the driver says {form}")), redact(form), clean(f"a {form} b")):
            assert form not in text
            assert "***" in text


def test_short_secret_hides_no_other_words_but_is_hidden_in_urls() -> None:
    register_secret("ab")
    assert clean("about postgresql://loader:ab@host/db") == "about postgresql://***@host/db"
    assert clean("mysql://loader:a@b:c@host/db?x=1 me@example.com") == "mysql://***@host/db?x=1 me@example.com"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\x9b31m", "a\\rb\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("half \ud83d", "half \\ud83d"),
        ("Jörg\tMüller\n👩‍💻", "Jörg\tMüller\n👩‍💻"),
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    assert clean(text) == str(InsightlyError(text)) == shown
    assert str(BadSetting("a", "b", text)) == f"a is 'b': {shown}"
    printed = Console(file=io.StringIO(), force_terminal=True, width=80)
    printed.print(escape(f"[red]{text}"), highlight=False)
    assert printed.file.getvalue().expandtabs() == f"[red]{shown}\n".expandtabs()  # type: ignore[attr-defined]
    record = logging.LogRecord("a", logging.ERROR, "a.py", 1, "%s", (text,), None)
    assert StderrHandler().format(record) == shown


def test_record_is_described_by_its_keys() -> None:
    assert describe({"CONTACT_ID": None, "EMAIL": "ada@example.com"}) == "its keys are ['CONTACT_ID', 'EMAIL']"
    assert describe("ada@example.com") == "it is a str"
