"""The source's state and schema, which dlt stores in the destination."""

import json
from collections.abc import Mapping
from typing import Any

import dlt
from dlt.common.destination.client import WithStateSync
from dlt.common.schema import Schema

from sources.insightly.entities import OBJECTS

PIPELINE = SCHEMA = "insightly"


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
