"""Draws how the tables refer to each other, from the references in the table of facts."""

from collections.abc import Iterator, Mapping
from html import escape

from dlt.common.normalizers.naming.snake_case import NamingConvention

from sources.insightly.entities import ENTITIES
from sources.insightly.rows.descriptions import references_of
from sources.insightly.rows.naming import child_table

COLUMNS = (
    ("comments", "quote_line_items", "opportunity_state_history", "prospects", "ticket_comments"),
    ("notes", "emails", "tasks", "events", "opportunity_line_items", "quotes", "tickets"),
    ("milestones", "projects", "leads", "pricebook_entries", "products"),
    ("opportunities", "lead_sources", "lead_statuses", "contacts", "project_categories", "task_categories"),
    ("pipeline_stages", "pipelines", "opportunity_categories", "pricebooks", "organisations"),
)
"""The tables of the picture from left to right: most references lead to the right."""
EVERYWHERE = ("users", "teams", "currencies")
"""Tables that nearly every table refers to: drawn as text."""
WIDTH, GAP, LINE, TOP = 248, 86, 18, 56
COLOURS = ("#2563eb", "#059669", "#d97706", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f", "#475569")
LEGEND = (
    "A line leads from a column to the table whose keys it contains. In bold: the key of the table. "
    "also: tables that nearly every table refers to. with: child tables, such as contacts__tags."
)
STYLE = """\
.table { fill: #ffffff; stroke: #94a3b8 }
.head { fill: #e2e8f0; stroke: #94a3b8 }
.reference { fill: none; stroke-width: 1.4; opacity: 0.8 }
"""
normalize = NamingConvention().normalize_path


class Box:
    """A table of the picture: its name, its key, the columns that refer to others, and its child tables."""

    def __init__(self, name: str, column: int, top: int) -> None:
        self.name, self.x, self.y = name, 20 + column * (WIDTH + GAP), top
        entity = ENTITIES[name]
        self.keys = [normalize(part) for part in entity.key]
        drawn = {name for names in COLUMNS for name in names}
        references = [(normalize(fields[0]), other) for fields, other in references_of(name) if other != name]
        self.references = [(field, other) for field, other in references if other in drawn]
        self.elsewhere = sorted({other for _, other in references if other in EVERYWHERE})
        self.children = [child_table(entity, array).partition("__")[2] for array in entity.arrays]
        self.fields = list(dict.fromkeys([*self.keys, *(field for field, _ in self.references)]))
        self.lines = len(self.fields) + bool(self.elsewhere) + bool(self.children)

    @property
    def height(self) -> int:
        return 26 + self.lines * LINE + 6

    def line_y(self, index: int) -> int:
        """The middle of a line of text, counted from 0."""
        return self.y + 26 + index * LINE + LINE // 2 + 2

    def parts(self) -> Iterator[str]:
        yield f'<rect class="table" x="{self.x}" y="{self.y}" width="{WIDTH}" height="{self.height}" rx="5"/>'
        yield f'<rect class="head" x="{self.x}" y="{self.y}" width="{WIDTH}" height="24" rx="5"/>'
        yield f'<text class="name" x="{self.x + 10}" y="{self.y + 17}">{escape(self.name)}</text>'
        texts = [
            *(("code name" if field in self.keys else "code", field) for field in self.fields),
            *([("small", f"also: {', '.join(self.elsewhere)}")] if self.elsewhere else []),
            *([("small", f"with: {', '.join(self.children)}")] if self.children else []),
        ]
        for index, (kind, text) in enumerate(texts):
            yield f'<text class="{kind}" x="{self.x + 10}" y="{self.line_y(index) + 4}">{escape(text)}</text>'


def tables() -> tuple[int, int, list[str]]:
    """The width and the height of the picture, and its parts."""
    boxes = dict[str, Box]()
    for column, names in enumerate(COLUMNS):
        top = TOP
        for name in names:
            boxes[name] = Box(name, column, top)
            top += boxes[name].height + 22
    width = 20 + len(COLUMNS) * (WIDTH + GAP) - GAP + 44
    height = max(box.y + box.height for box in boxes.values()) + 20
    targets = sorted({other for box in boxes.values() for _, other in box.references})
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(targets)}
    lines = [line for box in boxes.values() for line in _lines(box, boxes, colours)]
    parts = [f'<text class="small" x="20" y="30">{escape(LEGEND)}</text>', *lines]
    return width, height, [*parts, *(part for box in boxes.values() for part in box.parts())]


def _lines(box: Box, boxes: Mapping[str, Box], colours: Mapping[str, str]) -> Iterator[str]:
    for field, other in box.references:
        target, start, y = boxes[other], box.x + WIDTH, box.line_y(box.fields.index(field))
        to_y = target.y + 12
        if target.x > box.x:
            end = target.x - 3
            turns = start + GAP // 2, end - GAP // 2
        else:  # around the right side
            end = target.x + WIDTH + 3
            turns = (max(start, end) + GAP // 2,) * 2
        path = f"M{start} {y} C{turns[0]} {y} {turns[1]} {to_y} {end} {to_y}"
        yield f'<path class="reference" d="{path}" stroke="{colours[other]}" marker-end="url(#head)"/>'
