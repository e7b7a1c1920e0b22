"""What `data.toml` says."""

import tomllib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")


def _phrases(text: str) -> list[str]:
    return " ".join(text.split()).split("; ")


_DATA: dict[str, Any] = tomllib.loads(Path(__file__).with_name("data.toml").read_text(encoding="utf-8"))

WORDS = {name: _phrases(text) for name, text in _DATA["words"].items()}
CITIES = [city.split("/") for city in WORDS["cities"]]
"""City, state, start of the postcode, country and dialling code of each."""
TAGS = {entity: _phrases(text) for entity, text in _DATA["tags"].items()}
FACTS = _DATA["entities"]
"""The facts of each entity: `id`, `size`, and values of fields."""
FIELDS = _DATA["fields"]
"""Values by the names of fields, as a regular expression."""
SPARSE = "|".join(_DATA["sparse"])
DIRTY: dict[str, list[str]] = _DATA["dirty"]
"""Values by the names of fields that have them, as a regular expression; `dates` are those of dates."""
CHILDREN = _DATA["children"]
"""The same of each entity whose rows belong to a record each, and which of the records of each parent have rows."""
CUSTOM_FIELDS: dict[str, list[tuple[str, str, list[str]]]] = {}
"""By FIELD_FOR: FIELD_NAME, FIELD_TYPE, and the values to choose from, or the object of a lookup."""
for _owner, _text in _DATA["custom_fields"].items():
    _fields = [field.split(" ", 2) for field in _phrases(_text)]
    CUSTOM_FIELDS[_owner] = [(name, kind, more[0].split("|") if more else []) for name, kind, *more in _fields]
STAGES: defaultdict[int, list[int]] = defaultdict(list)
"""The ids of the stages of each pipeline."""
for _id, _pipeline in enumerate(FACTS["pipeline_stages"]["PIPELINE_ID"], FACTS["pipeline_stages"]["id"]):
    STAGES[_pipeline].append(_id)


def nth(items: Sequence[Item], number: int) -> Item:
    """The item at `number`, starting again after the last one."""
    return items[number % len(items)]


def email_address(first: str, last: str, domain: str) -> str:
    return f"{first}.{last}@{domain}".lower().replace("'", "")
