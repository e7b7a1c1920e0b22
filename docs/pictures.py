"""Draws docs/why/layers.svg and docs/why/record.svg from the imports in the code, and docs/reference/tables.svg from
the references between tables: `make docs`.

The folders, their levels and the arrows follow from the imports. What a folder is for, and the steps of a record, are
written below; a step whose function does not exist, or a folder without a text, is an error.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from docs import diagram

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/why"
SOURCE = "sources.insightly"

# What each folder is for.
COMMAND_FOLDERS = {
    "dags": "Airflow",
    "pipelines.cli": "arguments and output",
    "pipelines.commands": "one module per command",
    "pipelines.views": "marts, views over all accounts",
    "pipelines.dashboard": "one page of health and charts",
    "pipelines.push": "writes to Insightly",
    "pipelines.engine": "one run, its report and its log",
    "pipelines.destinations": "where rows are stored",
    "pipelines.sandbox": "a small Insightly",
}
SOURCE_FOLDERS = {
    f"{SOURCE}.source": "the dlt source",
    f"{SOURCE}.resources": "one module per way of reading",
    f"{SOURCE}.context": "what the reads of a run share",
    f"{SOURCE}.chunk": "what one commit contains",
    f"{SOURCE}.catalog": "entities and custom objects",
    f"{SOURCE}.api": "HTTP: the only sender",
    f"{SOURCE}.paging": "the walk that loses no row",
    f"{SOURCE}.config": "settings and accounts",
    f"{SOURCE}.rows": "JSON to typed columns",
    f"{SOURCE}.state": "checkpoints and watermarks",
    f"{SOURCE}.result": "the result of each entity",
    f"{SOURCE}.selection": "the names that users type",
    f"{SOURCE}.entities": "the facts of every entity",
    f"{SOURCE}.fields": "the fields of records",
    f"{SOURCE}.errors": "sorted by what to do",
}
FOLDERS = {**COMMAND_FOLDERS, **SOURCE_FOLDERS}

DLT = ("dlt", "")
# The way of a page of contacts: module, function, what happens. First to the API, then back to the destination.
TO_THE_API = (
    ("pipelines.cli.__main__", "main", "parses the command"),
    ("pipelines.commands.sync", "sync", "chooses the entities"),
    ("pipelines.engine.runner", "Runner.read", "repeats rounds until no walk is unfinished"),
    ("pipelines.destinations.target", "Target.load", "runs the dlt pipeline of the destination"),
    (*DLT, "extracts: asks each resource for its next rows"),
    (f"{SOURCE}.resources.build", "resource_of", "chooses how the entity is read"),
    (f"{SOURCE}.resources.incremental", "read_changes", "starts at the watermark or at the checkpoint"),
    (f"{SOURCE}.resources.fetch", "page_reader", "builds the calls of the entity"),
    (f"{SOURCE}.paging.prefetch", "PageReader.request_page", "requests pages ahead, in threads"),
    (f"{SOURCE}.api.client", "Client.get_list", "sends, and retries by kind of failure"),
    (f"{SOURCE}.api.quota", "CallBudget.take", "counts the call against the run and the day"),
    (f"{SOURCE}.api.rate_limit", "RateLimiter.wait", "waits for its turn: ten calls per second"),
)
TO_THE_DESTINATION = (
    (f"{SOURCE}.api.json_body", "parse", "parses the page without rounding a number"),
    (f"{SOURCE}.paging.walk", "walk", "joins the page to the one before; loses no row"),
    (f"{SOURCE}.resources.enrich", "complete_and_shape", "adds tags and custom-field definitions"),
    (f"{SOURCE}.rows.masking", "Mask.mask", "hashes and drops columns"),
    (f"{SOURCE}.rows.shaper", "RowShaper.shape", "one record: a row and its child rows"),
    (f"{SOURCE}.rows.arrow", "to_column", "JSON values to a typed Arrow column"),
    (f"{SOURCE}.state.checkpoint", "Checkpoint.store", "the position, in the package of its rows"),
    (f"{SOURCE}.resources.hints", "marked", "keys and merge hints for dlt"),
    (*DLT, "normalizes and merges rows and checkpoint, as one package"),
    ("pipelines.engine.runner", "Runner.report", "counts what the run did"),
    ("pipelines.engine.run_log", "write_run", "one row per entity in _sync_runs"),
    ("pipelines.cli.console", "show", "prints the report"),
)

STYLE = """\
text { fill: #1f2937; font-size: 14px }
.small { fill: #4b5563; font-size: 12px }
.frame { fill: #f8fafc; stroke: #cbd5e1 }
.title { fill: #475569; font-size: 13px; font-weight: 600 }
.command { fill: #dbeafe; stroke: #60a5fa }
.source { fill: #dcfce7; stroke: #4ade80 }
.outside { fill: #fef3c7; stroke: #fbbf24 }
.name { font-weight: 600 }
.code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px }
.arrow { fill: none; stroke: #64748b; stroke-width: 1.5; marker-end: url(#head) }
.passed { stroke-dasharray: 3 3 }
.public { fill: #2563eb }
"""


@cache
def modules() -> Mapping[str, ast.Module]:
    """Every module of the program by its name, parsed; a package has the name of its folder."""
    paths = [path for folder in ("sources/insightly", "pipelines", "dags") for path in (ROOT / folder).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(paths)
    }


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the program that this one imports, wherever in it."""
    package = (ROOT / module.replace(".", "/")).is_dir()
    found: set[str] = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else base for name in names}
    return frozenset(found & set(modules()) - {module})


def folder_of(module: str) -> str:
    """The box that a module belongs to; the face of the source belongs to the box of the source."""
    if module == SOURCE:
        return f"{SOURCE}.source"
    depth = 3 if module.startswith(SOURCE) else 1 if module.startswith("dags") else 2
    return ".".join(module.split(".")[:depth])


def arrows() -> dict[str, set[str]]:
    """The folders that each folder imports from.

    Raises:
        KeyError: a folder has no text above.
    """
    found: dict[str, set[str]] = {folder: set() for folder in FOLDERS}
    for module in modules():
        folder = folder_of(module)
        found[folder] |= {folder_of(each) for each in imports(module)} - {folder}
    return found


def reduced(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that follow from others.

    Raises:
        graphlib.CycleError: the imports go round in a circle.
    """
    below: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        below[name] = graph[name].union(*(below[each] for each in graph[name]))
    return {name: direct - set().union(*(below[each] for each in direct)) for name, direct in graph.items()}


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """How far above the bottom each folder is: one above the highest that it imports from."""
    found: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        found[name] = 1 + max((found[each] for each in graph[name]), default=-1)
    return found


class Drawing:
    """A graph by levels, the highest at the top; boxes and bends of a level are ordered so that few arrows cross.

    Args:
        graph: the boxes that each box has an arrow to.
        top: where the highest level begins.
    """

    WIDTH, HEIGHT, GAP_X, GAP_Y, BEND = 204, 50, 26, 42, 12

    def __init__(self, graph: Mapping[str, set[str]], top: int) -> None:
        level = levels(graph)
        self.top, self.highest = top, max(level.values())
        self.rows: list[list[str]] = [[] for _ in range(self.highest + 1)]
        for name in graph:
            self.rows[self.highest - level[name]].append(name)
        self.paths = [self._path(name, below, level) for name in graph for below in sorted(graph[name])]
        self.joined: dict[str, list[str]] = {name: [] for row in self.rows for name in row}
        for path in self.paths:
            for upper, lower in pairwise(path):
                self.joined[upper].append(lower)
                self.joined[lower].append(upper)
        self.x = {name: float(index * self.WIDTH) for row in self.rows for index, name in enumerate(row)}
        for _ in range(24):
            for rows in (self.rows, self.rows[::-1]):
                for above, row in pairwise(rows):
                    self._place(row, set(above))
        left = min(self.x[name] - self._half(name) for name in self.x)
        self.x = {name: x - left for name, x in self.x.items()}
        self.width = round(max(self.x[name] + self._half(name) for name in self.x))
        self.height = len(self.rows) * (self.HEIGHT + self.GAP_Y) - self.GAP_Y

    def _path(self, upper: str, lower: str, level: Mapping[str, int]) -> list[str]:
        """An arrow through a bend in each level between its ends."""
        between = range(self.highest - level[upper] + 1, self.highest - level[lower])
        bends = [f"{upper} to {lower} {row}" for row in between]
        for row, bend in zip(between, bends, strict=True):
            self.rows[row].append(bend)
        return [upper, *bends, lower]

    def _half(self, name: str) -> float:
        return (self.BEND if " to " in name else self.WIDTH) / 2

    def _place(self, row: list[str], others: set[str]) -> None:
        """Moves what is in a level below, or above, what it is joined to, as close as its neighbours let it."""
        wanted = {
            name: fmean(near)
            if (near := [self.x[each] for each in self.joined[name] if each in others])
            else self.x[name]
            for name in row
        }
        row.sort(key=lambda name: wanted[name])
        offsets = [0.0]
        for one, other in pairwise(row):
            offsets.append(offsets[-1] + self._half(one) + self.GAP_X + self._half(other))
        groups: list[list[float]] = []  # neighbours that touch move together, to the mean of what they want
        for name, offset in zip(row, offsets, strict=True):
            groups.append([wanted[name] - offset])
            while len(groups) > 1 and fmean(groups[-2]) > fmean(groups[-1]):
                groups[-2:] = [groups[-2] + groups[-1]]
        starts = [fmean(group) for group in groups for _ in group]
        self.x.update({name: start + offset for name, start, offset in zip(row, starts, offsets, strict=True)})

    def y(self, row: int) -> int:
        return self.top + row * (self.HEIGHT + self.GAP_Y)

    def arrows(self, left: int) -> Iterator[str]:
        row_of = {name: index for index, row in enumerate(self.rows) for name in row}
        for upper, *bends, lower in self.paths:
            x, y = left + round(self.x[upper]), self.y(row_of[upper]) + self.HEIGHT
            path = f"M{x} {y}"
            for name in (*bends, lower):
                to_x, to_y = left + round(self.x[name]), self.y(row_of[name]) - 9
                path += f"C{x} {(y + to_y) // 2} {to_x} {(y + to_y) // 2} {to_x} {to_y}"
                x, y = to_x, to_y + (7 if name == lower else 9 + self.HEIGHT)
                path += f"V{y}"
            yield f'<path class="arrow" d="{path}"/>'

    def boxes(self, left: int, texts: Mapping[str, str], kind: str, public: set[str]) -> Iterator[str]:
        for index, row in enumerate(self.rows):
            for name in filter(texts.__contains__, row):
                x, y = left + round(self.x[name]), self.y(index)
                corner = x - self.WIDTH // 2
                yield f'<rect class="{kind}" x="{corner}" y="{y}" width="{self.WIDTH}" height="{self.HEIGHT}" rx="6"/>'
                if name in public:
                    yield f'<circle class="public" cx="{corner + 14}" cy="{y + 17}" r="4"/>'
                yield f'<text class="name" x="{x}" y="{y + 22}" text-anchor="middle">{name.rpartition(".")[2]}</text>'
                yield f'<text class="small" x="{x}" y="{y + 40}" text-anchor="middle">{escape(texts[name])}</text>'


def layers() -> str:
    """The folders by level, with an arrow from each to those that it imports from."""
    graph, edge = arrows(), 24
    public = {each for folder in COMMAND_FOLDERS for each in graph[folder] & set(SOURCE_FOLDERS)}
    upper = Drawing(reduced({name: graph[name] & set(COMMAND_FOLDERS) for name in COMMAND_FOLDERS}), 20 + 52)
    source = reduced({name: graph[name] & set(SOURCE_FOLDERS) for name in SOURCE_FOLDERS})
    lower = Drawing(source, upper.top + upper.height + edge + 44 + 52)
    width = max(upper.width, lower.width) + 2 * edge + 40
    middle = upper.top + upper.height + edge
    parts = []
    for drawing, title, texts, kind in (
        (upper, "pipelines/ and dags/: the command insightly", COMMAND_FOLDERS, "command"),
        (lower, "sources/insightly/: the dlt source", SOURCE_FOLDERS, "source"),
    ):
        top, left = drawing.top - 52, (width - drawing.width) // 2
        height = drawing.height + 52 + edge
        parts += [
            f'<rect class="frame" x="20" y="{top}" width="{width - 40}" height="{height}" rx="10"/>',
            f'<text class="title" x="{20 + edge}" y="{top + 30}">{title}</text>',
            *drawing.arrows(left),
            *drawing.boxes(left, texts, kind, public),
        ]
    parts += [
        f'<path class="arrow" d="M{width // 2} {middle + 1}V{middle + 42}"/>',
        f'<circle class="public" cx="{width // 2 + 22}" cy="{middle + 22}" r="4"/>',
        f'<text class="small" x="{width // 2 + 32}" y="{middle + 26}">imported by pipelines</text>',
    ]
    return svg(
        width,
        lower.top + lower.height + edge + 20,
        "Layers",
        "Each folder imports only from folders below it. An arrow that follows from other arrows is not drawn.",
        parts,
    )


def record() -> str:
    """The way of a page of contacts, down to the API and up to the destination."""
    box, height, gap, left, right, top = 410, 46, 28, 20, 500, 64
    step = height + gap
    count = max(len(TO_THE_API), len(TO_THE_DESTINATION))
    bottom = top + count * step
    width = right + box + 20
    parts = [
        f'<text class="title" x="{left}" y="44">the request goes down</text>',
        f'<text class="title" x="{right}" y="44">the rows go up</text>',
    ]
    for x, steps, up in ((left, TO_THE_API, False), (right, TO_THE_DESTINATION, True)):
        for index, (module, function, text) in enumerate(steps):
            y = bottom - (index + 1) * step if up else bottom - (len(steps) - index) * step
            parts.append(_step(x, y, box, height, module, function, text))
            if index + 1 < len(steps):
                ends = (y - 1, y - gap + 1) if up else (y + height + 1, y + step - 1)
                passed = "" if is_linked(module, steps[index + 1][0]) else " passed"
                parts.append(f'<path class="arrow{passed}" d="M{x + box // 2} {ends[0]}V{ends[1]}"/>')
    api, last = bottom + 18, bottom - gap
    parts += [
        f'<rect class="outside" x="{left}" y="{api}" width="{width - 40}" height="{height}" rx="6"/>',
        f'<text class="name" x="{width // 2}" y="{api + 28}" text-anchor="middle">Insightly API</text>',
        f'<path class="arrow" d="M{left + box // 2} {last + 1}V{api - 1}"/>',
        f'<path class="arrow" d="M{right + box // 2} {api - 1}V{last + 1}"/>',
        f'<path class="arrow" d="M{left} {api + height + 32}h44"/>',
        f'<text class="small" x="{left + 54}" y="{api + height + 36}">one of the two modules imports the other</text>',
        f'<path class="arrow passed" d="M{right} {api + height + 32}h44"/>',
        f'<text class="small" x="{right + 54}" y="{api + height + 36}">a caller above, or dlt, passes it on</text>',
    ]
    return svg(
        width,
        api + height + 56,
        "The way of a record",
        "The modules and functions that a page of contacts passes through, to the API and back to the destination.",
        parts,
    )


def _step(x: int, y: int, width: int, height: int, module: str, function: str, text: str) -> str:
    if module == "dlt":
        kind, name = "outside", '<tspan class="name">dlt</tspan>'
    else:
        require(module, function)
        kind = "source" if module.startswith(SOURCE) else "command"
        folder, _, file = module.removeprefix(f"{SOURCE}.").removeprefix("pipelines.").rpartition(".")
        name = f'{folder}/{file}.py <tspan class="name" dx="6">{function}</tspan>'
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        f'<text class="code" x="{x + 14}" y="{y + 19}">{name}</text>'
        f'<text class="small" x="{x + 14}" y="{y + 36}">{escape(text)}</text>'
    )


def require(module: str, function: str) -> None:
    """Asserts that a module has a function, or a class with this method.

    Raises:
        LookupError: it has none of this name.
    """
    body: Sequence[ast.stmt] = modules()[module].body
    for name in function.split("."):
        found = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
        if not found:
            raise LookupError(f"{module} has no {function}: name the function that does this step in {__file__}")
        body = found[0].body


def is_linked(one: str, other: str) -> bool:
    """Whether one of two modules imports the other; dlt calls, and is called by, what is next to it."""
    return "dlt" in (one, other) or other in imports(one) or one in imports(other)


def svg(width: int, height: int, title: str, text: str, parts: Sequence[str], style: str = STYLE) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif">',
            f"<title>{title}</title>",
            f"<desc>{text}</desc>",
            f"<style>\n{style}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#64748b"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def pictures() -> Iterator[tuple[Path, str]]:
    """Each picture's file, and what it should contain."""
    yield PICTURES / "layers.svg", layers()
    yield PICTURES / "record.svg", record()
    text = "Boxes are tables with their keys and the columns that refer to other tables; lines lead to these."
    width, height, parts = diagram.tables()
    picture = svg(width, height, "How the tables refer to each other", text, parts, STYLE + diagram.STYLE)
    yield ROOT / "docs/reference/tables.svg", picture


if __name__ == "__main__":
    for path, text in pictures():
        path.write_text(text, encoding="utf-8")
