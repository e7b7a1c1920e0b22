"""The answers for `insightly init`: from options, the environment, stdin, or questions on a terminal."""

import argparse
import os
import secrets
import sys
from getpass import getpass
from typing import Any

from rich.console import Console

from pipelines.commands.init import Setup, find_address, has_key
from sources.insightly.config.accounts import KEY_SHOWN
from sources.insightly.config.settings import resolve_settings
from sources.insightly.config.validators import names
from sources.insightly.errors import BadSetting, ConfigurationError, InsightlyError, register_secret

from .confirm import agrees

KEY_VARIABLE = "SOURCES__INSIGHTLY__API_KEY"
QUESTIONS = {
    "history": (
        "Earlier versions of a record cannot be loaded later. For which entities should\n"
        "each sync keep every version, for example to measure how long a deal stays in\n"
        "a stage? Type names separated by commas, or none.",
        "opportunities",
    ),
    "hash": ("Which columns to store only as a hash, such as contacts.email_address?", "none"),
    "start_date": ("Read only what changed since a date, such as 2024-01-01?\nType the date, or all.", "all"),
}
"""Setting -> its question, and the answer if the user only presses Enter."""


def setup(args: argparse.Namespace) -> Setup:
    """The settings to write.

    Raises:
        BadSetting: there is no key, a value is wrong, or the secrets file has a key and nobody said to replace it.
        InsightlyError: the API does not respond.
    """
    try:
        return _setup(args, Console(stderr=True, emoji=False))
    except EOFError:  # Ctrl-D
        raise InsightlyError("no answer: nothing was written") from None


def _setup(args: argparse.Namespace, console: Console) -> Setup:
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not args.yes
    if has_key() and not args.force and (not asks or not agrees(console, ".dlt/secrets.toml has a key. Replace it?")):
        raise BadSetting("--force", "", ".dlt/secrets.toml has a key already; add --force to replace it")
    made = find_address(_key(args, asks), args.pod)
    if asks:
        console.print(f"The key works at {next(iter(made.config.values()))}.", markup=False)
    for setting, (question, default) in QUESTIONS.items():
        value = getattr(args, setting)
        if value is not None:
            _set(made, setting, value)
        elif asks:
            _ask(console, made, setting, f"{question} [{default}] ", default)
    return made


def _key(args: argparse.Namespace, asks: bool) -> str:
    """The key, which is never an argument: other users of the machine can see those."""
    key = sys.stdin.readline() if args.key_stdin else os.environ.get(KEY_VARIABLE) or ""
    if not key.strip() and asks:
        key = getpass("API key (Insightly: User Settings > API; not shown as you type): ")
    if not key.strip():
        fix = f"set {KEY_VARIABLE}, pipe the key into insightly init --key-stdin, or run insightly init on a terminal"
        raise BadSetting("sources.insightly.api_key", "", f"{fix}. {KEY_SHOWN}")
    register_secret(key.strip())
    return key.strip()


def _ask(console: Console, made: Setup, setting: str, question: str, default: str) -> None:
    """Asks until the answer is a value that the setting takes."""
    while True:
        answer = console.input(question, markup=False).strip() or default
        try:
            _set(made, setting, answer)
            return
        except ConfigurationError as error:
            console.print(str(error), style="red", markup=False)


def _set(made: Setup, setting: str, answer: str) -> None:
    """Sets an answer; `none` and `all` leave the setting out. Raises ConfigurationError if the value is wrong."""
    if answer in ("none", "all"):
        return
    value: Any = answer if setting == "start_date" else names(setting, answer)
    changed = Setup(dict(made.secrets), {**made.config, setting: value})
    if setting == "hash" and not resolve_settings().hash_key:  # hashes of two keys do not join: keep an existing one
        changed.secrets["hash_key"] = secrets.token_hex(32)
    changed.settings()
    made.secrets, made.config = changed.secrets, changed.config
