"""The source's state and schema, which dlt stores in the destination."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
from dlt.common.destination.client import StateInfo, WithStateSync
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema
from dlt.common.time import increasing_precise_time
from dlt.destinations.job_client_impl import SqlJobClientBase

from sources.insightly.entities import OBJECTS
from sources.insightly.errors import BadSetting, listing

logger = logging.getLogger(__name__)

PIPELINE = SCHEMA = "insightly"
CLOCK_TOLERANCE = timedelta(minutes=5)
"""What is later than this machine's clock by more lies in the future."""
SHOWN = 5
"""Tables that a message names."""


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
    """Restores the schema of tables from a killed first run, or of a dataset that lost dlt's tables of states.

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


def check_own_tables(pipeline: dlt.Pipeline) -> None:
    """Checks that the tables in which dlt keeps its schemas, loads and states are dlt's.

    Raises:
        BadSetting: names the dataset and the tables.
    """
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase) or not client.is_storage_initialized():
            return
        schema = client.schema
        tables = schema.version_table_name, schema.loads_table_name, schema.state_table_name
        keys = dict(zip(tables, ("schema_name", "load_id", "pipeline_name"), strict=True))
        stored = client.get_storage_tables(list(keys))
        foreign = [name for name, columns in stored if columns and keys[name] not in map(str.lower, columns)]
    if foreign:
        raise foreign_tables(pipeline.dataset_name, foreign)


def check_stored_schema(pipeline: dlt.Pipeline) -> None:
    """Checks that a destination which stores this program's state also stores the schema of its tables.

    Raises:
        BadSetting: it does not, because the table was dropped or emptied.
    """
    if not pipeline.default_schema.data_table_names(include_incomplete=True):
        table = pipeline.default_schema.version_table_name
        fix = f"its table {table} has lost the schema of the other tables; restore it from a backup, or name another"
        raise BadSetting("--dataset", pipeline.dataset_name, f"{fix} dataset")


def foreign_tables(dataset: str, tables: Sequence[str]) -> BadSetting:
    """The error for tables in a dataset that this program did not load."""
    fix = f"insightly did not load its tables {listing(tables, SHOWN)}; name another dataset, or rename these tables"
    return BadSetting("--dataset", dataset, fix)


def has_stored_state(pipeline: dlt.Pipeline) -> bool:
    """True if the destination stores a state of this pipeline."""
    return _stored_state(pipeline) is not None


def continue_load_ids(pipeline: dlt.Pipeline) -> None:
    """Makes the ids of new loads greater than that of the stored state.

    dlt restores the state with the greatest load id, and an id is a time of this machine's clock. After a run whose
    clock was ahead, each run would start from the state of that run again.
    """
    stored = _stored_state(pipeline)
    last = float((stored and stored._dlt_load_id) or 0)
    # The clock behind the ids has no method for this; it never goes back.
    increasing_precise_time._last = max(increasing_precise_time._last, last)
    if (ahead := last - time.time()) > CLOCK_TOLERANCE.total_seconds():
        logger.warning(
            "The last load lies %s in the future (%s): a clock was wrong, or this machine's is. Check it",
            timedelta(seconds=round(ahead)),
            datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds"),
        )
        _restore_newest_schema(pipeline)


def _restore_newest_schema(pipeline: dlt.Pipeline) -> None:
    """Restores the schema of the greatest version; dlt restores the one with the latest time, which may be wrong."""
    if pipeline.default_schema_name is None:
        return
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(pipeline.default_schema.version_table_name)
        sql = f"select {client.escape_column_name('schema')} from {table} where schema_name = %s order by version desc"
        rows = client.execute_sql(sql, SCHEMA) or ()
    if rows:
        pipeline.schemas.save_schema(Schema.from_dict(json.loads(rows[0][0])))


def _stored_state(pipeline: dlt.Pipeline) -> StateInfo | None:
    with pipeline.destination_client() as client:
        if isinstance(client, WithStateSync):
            with suppress(DestinationUndefinedEntity):  # no dataset, or one without tables of dlt
                return client.get_stored_state(pipeline.pipeline_name)
    return None


def check_packages(pipeline: dlt.Pipeline) -> None:
    """Reads what dlt will read of the pipeline's working folder if a package is pending.

    Raises:
        Exception: of many types, if a file is damaged.
    """
    if not pipeline.has_pending_data:
        return
    import pyarrow.parquet as pq

    for name in pipeline.schemas.list_schemas() or [SCHEMA]:
        pipeline.schemas.load_schema(name)
    for load_id in (*pipeline.list_extracted_load_packages(), *pipeline.list_normalized_load_packages()):
        package = pipeline.get_load_package_info(load_id)
        for job in (job for jobs in package.jobs.values() for job in jobs):
            if job.job_file_info.file_format == "parquet":
                pq.read_metadata(job.file_path)
