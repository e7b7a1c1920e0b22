"""Which sort of dataset a destination has."""

import dlt

from .dataset import Dataset
from .target import Target


def dataset_of(target: Target, pipeline: dlt.Pipeline) -> Dataset:
    """What the destination holds."""
    if target.adapter.sql:
        return Dataset(pipeline)
    from .delta_dataset import LakeDataset

    return LakeDataset(pipeline)
