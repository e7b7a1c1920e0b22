"""What dlt stores of the source's state and schema in the destination."""

import json
from collections.abc import Mapping
from typing import Any

import dlt
from dlt.common.destination.client import WithStateSync
from dlt.common.schema import Schema

from sources.insightly.entities import OBJECTS

PIPELINE = SCHEMA = "insightly"


def source_state(pipeline: dlt.Pipeline) -> Mapping[str, Any]:
    """What the source keeps between runs, as of the last load."""
    state: Mapping[str, Any] = pipeline.state.get("sources", {}).get("insightly", {})
    return state


def custom_objects(pipeline: dlt.Pipeline) -> Mapping[str, str]:
    """The custom objects that the destination knows, as of the last load: table -> OBJECT_NAME."""
    known: Mapping[str, str] = source_state(pipeline).get(OBJECTS, {})
    return known


def states(pipeline: dlt.Pipeline) -> Mapping[str, dict[str, Any]]:
    """The state of each entity's resource, as of the last load."""
    resources: Mapping[str, dict[str, Any]] = source_state(pipeline).get("resources", {})
    return resources


def _restore_schema(pipeline: dlt.Pipeline) -> None:
    """Takes the schema of tables that a killed first run left: dlt restores it only beside state, which comes last."""
    if SCHEMA in pipeline.schemas.list_schemas():
        return
    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync) or not client.is_storage_initialized():
            return
        stored = client.get_stored_schema(SCHEMA)
    if stored is not None:
        pipeline.schemas.save_schema(Schema.from_dict(json.loads(stored.schema)))


def _holds_state(pipeline: dlt.Pipeline) -> bool:
    with pipeline.destination_client() as client:
        if not client.is_storage_initialized() or not isinstance(client, WithStateSync):
            return False
        return client.get_stored_state(pipeline.pipeline_name) is not None


def load_begun(pipeline: dlt.Pipeline) -> bool:
    """Whether a package that waits to be loaded was under way already when a run ended."""
    packages = map(pipeline.get_load_package_info, pipeline.list_normalized_load_packages())
    return any(
        state != "new_jobs" or job.job_file_info.retry_count
        for package in packages
        for state, jobs in package.jobs.items()
        for job in jobs
    )
