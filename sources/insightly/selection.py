"""Names that users type, of entities and presets -> the entities to work on."""

from collections.abc import Collection, Iterable
from types import MappingProxyType

from .entities import ENTITIES, Entity, is_custom_object
from .errors import BadSetting, closest

CORE = tuple(ENTITIES)[:17]
_BY_NAME = {"custom_fields", *(e.name for e in ENTITIES.values() if e.read in ("per_parent", "object"))}
PRESETS: "MappingProxyType[str, tuple[str, ...]]" = MappingProxyType(
    {"core": CORE, "all": tuple(e.name for e in ENTITIES.values() if e.read != "embedded" and e.name not in _BY_NAME)}
)
"""`all` is every list. The two objects, the definitions of custom fields and per-record collections are read by name
only."""
SYNONYMS: "MappingProxyType[str, str]" = MappingProxyType(
    {"companies": "organisations", "deals": "opportunities", "organizations": "organisations", "people": "contacts"}
)
"""What other CRMs call the entities."""


def canonical(name: str) -> str:
    """The name of the table of facts for an entity or preset in any case, or for a synonym; other names unchanged."""
    normalized = name.strip().casefold()
    known = SYNONYMS.get(normalized, normalized)
    return known if known in ENTITIES or known in PRESETS else name.strip()


def closest_entity(name: str, known: Collection[str] = (*ENTITIES, *PRESETS)) -> str | None:
    """The entity or preset that an unknown name probably means; None if none comes close."""
    similar = closest(name, [*known, *(word for word, meant in SYNONYMS.items() if meant in known)])
    return None if similar is None else SYNONYMS.get(similar, similar)


def select(
    names: str | Iterable[str], tags: bool = True, setting: str = "sources.insightly.entities"
) -> tuple[str, ...]:
    """The entities of `names`, in table order; then names with the form of a custom object's, unchanged.

    Args:
        names: names and presets, as a list or separated by commas.
        tags: whether the presets include the entity `tags`.
        setting: the setting or option of the names, for messages.

    Raises:
        BadSetting: a name is unknown, or that entity cannot be read by itself.
    """
    requested = map(canonical, names.split(",") if isinstance(names, str) else names)
    chosen: set[str] = set()
    objects: list[str] = []
    for name in filter(None, requested):
        if name in PRESETS:
            chosen.update(member for member in PRESETS[name] if tags or member != "tags")
        elif is_custom_object(name):
            objects.append(name)
        elif name not in ENTITIES:
            similar = closest_entity(name)
            fix = (
                f"did you mean {similar}?"
                if similar
                else "insightly entities lists them; name a custom object by its API name, such as Fruit__c"
            )
            raise BadSetting(setting, name, fix)
        elif ENTITIES[name].read == "embedded":
            raise BadSetting(setting, name, how_to_read(ENTITIES[name]))
        else:
            chosen.add(name)
    if not chosen and not objects:
        raise BadSetting(setting, "", "name at least one entity, or all")
    return (*(name for name in ENTITIES if name in chosen), *sorted(set(objects)))


def how_to_read(entity: Entity) -> str:
    """How to read an entity that a preset does not include, as a clause for a message."""
    if entity.read == "per_parent":
        return f"it takes one call per record of {', '.join(entity.read_parents)}; sync it by name"
    if not entity.embedded:
        return "it stands for the records of all custom objects"
    owners = [other.name for other in ENTITIES.values() if entity.embedded in other.arrays]
    tables = ", ".join(f"{name}__{entity.embedded.lower()}" for name in owners)
    return f"it is in the tables {tables}; sync {', '.join(owners)}"


def select_history(names: Iterable[str]) -> list[str]:
    """The entities whose versions are kept; of a preset, those with a cursor.

    Args:
        names: the value of the setting `history`.

    Raises:
        BadSetting: a name is unknown, or the entity has no cursor.
    """
    setting, names = "sources.insightly.history", list(map(canonical, names))
    for name in names:
        if name in ENTITIES and ENTITIES[name].read != "incremental":
            raise BadSetting(
                setting, name, "it has no cursor, so there are no versions to keep; remove it from the setting"
            )
    chosen = select(names, setting=setting) if names else ()
    return [name for name in chosen if ENTITIES[name].read == "incremental"]
