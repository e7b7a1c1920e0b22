"""The source's state and schema, which dlt stores in the destination."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common.destination.client import WithStateSync
from dlt.common.schema import Schema
from dlt.common.storages import LiveSchemaStorage

from sources.insightly.entities import OBJECTS

PIPELINE = SCHEMA = "insightly"


def cache_schemas(pipeline: dlt.Pipeline) -> None:
    """Makes the pipeline read its schema file again only after the file or the schema in memory changed.

    dlt reads and validates it some thirty times a run: a fifth of the time of a small run.
    """
    storage, versions = cast(LiveSchemaStorage, pipeline.schemas), dict[str, tuple[int, int, int]]()
    load = storage.load_schema

    def load_schema(name: str) -> Schema:
        schema, file = storage.live_schemas.get(name), Path(storage.storage.make_full_path(f"{name}.schema.json"))
        if not file.exists():
            return load(name)
        stat = file.stat()
        version = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if schema is None or schema.is_modified or versions.get(name) != version:
            schema, versions[name] = load(name), version
        return schema

    storage.load_schema = load_schema  # type: ignore[method-assign]


def source_state(pipeline: dlt.Pipeline) -> Mapping[str, Any]:
    """The state that the source keeps between runs, as of the last load."""
    state: Mapping[str, Any] = pipeline.state.get("sources", {}).get("insightly", {})
    return state


def custom_objects(pipeline: dlt.Pipeline) -> Mapping[str, str]:
    """The custom objects in the destination, as of the last load: table -> OBJECT_NAME."""
    objects: Mapping[str, str] = source_state(pipeline).get(OBJECTS, {})
    return objects


def resource_states(pipeline: dlt.Pipeline) -> Mapping[str, dict[str, Any]]:
    """The state of each entity's resource, as of the last load."""
    resources: Mapping[str, dict[str, Any]] = source_state(pipeline).get("resources", {})
    return resources


def restore_schema(pipeline: dlt.Pipeline) -> None:
    """Restores the schema of tables from a killed first run.

    dlt restores a schema only together with state, and a load stores its state last.
    """
    if SCHEMA in pipeline.schemas.list_schemas():
        return
    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync) or not client.is_storage_initialized():
            return
        stored = client.get_stored_schema(SCHEMA)
    if stored is not None:
        pipeline.schemas.save_schema(Schema.from_dict(json.loads(stored.schema)))


def has_stored_state(pipeline: dlt.Pipeline) -> bool:
    """True if the destination stores a state of this pipeline."""
    with pipeline.destination_client() as client:
        if not client.is_storage_initialized() or not isinstance(client, WithStateSync):
            return False
        return client.get_stored_state(pipeline.pipeline_name) is not None
