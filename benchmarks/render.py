"""What was found -> `docs/why/benchmarks.md` and its plots."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

from .measure import ROOT, Result

DOCS = ROOT / "docs/why"
TEXTS = Path(__file__).parent
WIDTH, BAR, GAP, LABEL = 720, 22, 8, 220
COLOURS = {True: "#2563eb", False: "#94a3b8"}


def page(results: Mapping[str, Result]) -> None:
    """Writes the page: the preface, the targets, each program's table and plot, and where the time goes."""
    parts = ["# Benchmarks", (TEXTS / "preface.md").read_text(encoding="utf-8").strip()]
    parts += [f"Measured on {each}." for each in sorted({result.machine for result in results.values()})]
    parts.append("## Targets")
    parts.append(
        table(
            ["", "target", ""],
            [
                [f"[{name}](#{_anchor(result.title)})", text, "met" if met else "**missed**"]
                for name, result in results.items()
                for text, met in result.targets
            ],
        )
    )
    for name, result in results.items():
        parts += [f"## {result.title}", f"`python -m benchmarks {name}`. {result.about}"]
        if result.bars:
            (DOCS / "benchmarks").mkdir(exist_ok=True)
            (DOCS / f"benchmarks/{name}.svg").write_text(plot(result.bars, result.unit), encoding="utf-8")
            parts.append(f"![{result.title}: a bar chart of the table below](benchmarks/{name}.svg)")
        parts += [table(result.head, result.rows), *result.notes]
    parts.append((TEXTS / "profile.md").read_text(encoding="utf-8").strip())
    (DOCS / "benchmarks.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def machine() -> str:
    """The machine and the versions of the packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pyarrow", "orjson"))
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {versions}"


def plot(bars: Sequence[Sequence[str | float]], unit: str) -> str:
    """Horizontal bars as SVG, those of insightly in colour."""
    most = max(float(value) for _, value in bars)
    parts = []
    for index, (name, value) in enumerate(bars):
        top, length = GAP + index * (BAR + GAP), (WIDTH - LABEL - 90) * float(value) / most
        label, highlighted = escape(str(name)), str(name).startswith("insightly")
        parts.append(
            f'<text x="{LABEL - 8}" y="{top + 16}" text-anchor="end">{label}</text>\n'
            f'<rect x="{LABEL}" y="{top}" width="{max(length, 1):.0f}" height="{BAR}" fill="{COLOURS[highlighted]}"/>\n'
            f'<text x="{LABEL + length + 8:.0f}" y="{top + 16}">{float(value):,.4g} {unit}</text>\n'
        )
    height = GAP + len(bars) * (BAR + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="14">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{"".join(parts)}</svg>\n'
    )


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
