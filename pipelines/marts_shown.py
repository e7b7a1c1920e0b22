"""Marts for people on a terminal: what became of each, or their SQL."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"made": "green", "skipped": "yellow", "failed": "red"}
Marts = Mapping[str, Mapping[str, Any]]


def show_marts(console: Console, marts: Marts) -> None:
    """Prints the views that were made, and why others were not."""
    table = Table("mart", "state", box=None)
    table.add_column("rows", justify="right")
    table.add_column("view")
    for name, mart in marts.items():
        rows = "" if mart["rows"] is None else f"{mart['rows']:,}"
        table.add_row(name, f"[{STYLES[mart['state']]}]{mart['state']}[/]", rows, escape(mart["view"] or ""))
    console.print(table)
    for name, mart in marts.items():
        if mart["reason"]:
            reason = escape(mart["reason"])
            console.print(f"[{STYLES[mart['state']]}]{name} {mart['state']}[/]: {reason}", soft_wrap=True)
        elif mart["without"]:
            console.print(f"{name}: without {', '.join(mart['without'])}", soft_wrap=True)


def show_statements(console: Console, marts: Marts) -> None:
    """Prints SQL as it can be piped to a client: what a mart answers is a comment."""
    for mart in marts.values():
        told = f"-- {mart['answers']}\n{mart['sql']};\n" if mart["sql"] else f"-- left out: {mart['reason']}\n"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
