"""Which pipeline a dataset belongs to: two of them do not know what the other has read."""

from contextlib import suppress

import dlt
from dlt.common.configuration.container import Container
from dlt.common.destination.client import WithStateSync
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.pipeline import PipelineContext

from ..errors import BadSetting

COMMAND = "insightly"
"""The name of the command's pipelines."""


def refuse_dataset_of_command() -> None:
    """Checks that the pipeline at work does not load into a dataset of the command `insightly`.

    Each pipeline has its own state there: lists that one of them replaces have not changed in the state of the other.

    Raises:
        BadSetting: it does.
    """
    if not Container()[PipelineContext].is_active():
        return
    pipeline = dlt.current.pipeline()
    if pipeline.pipeline_name == COMMAND or pipeline.destination is None:
        return
    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync) or not client.is_storage_initialized():
            return
        stored = None
        with suppress(DestinationUndefinedEntity):  # a schema without tables of dlt
            stored = client.get_stored_state(COMMAND)
        if stored is not None:
            fix = f"the command insightly loads this dataset; name another for the pipeline {pipeline.pipeline_name}"
            raise BadSetting("dataset_name", pipeline.dataset_name, fix)
