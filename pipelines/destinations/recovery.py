"""What an interrupted run left to be loaded, and why a load failed."""

import logging

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.insightly import InsightlyError

from .pipeline_state import load_begun
from .target import LoadingFailed, Target

logger = logging.getLogger(__name__)


def without_pending(target: Target) -> dlt.Pipeline:
    """The pipeline, what an interrupted run left being loaded: with it pending, a run extracts nothing (dlt#3227).

    A load that had begun is not gone on with, but read again: dlt copies a file once more that was under way, and
    child rows, which merge by their parent alone, would be there twice.
    """
    pipeline = target.pipeline()
    if pipeline.has_pending_data and load_begun(pipeline):
        logger.warning("a load was interrupted; what it did not finish is read again")
        pipeline.drop()
        pipeline = target.pipeline()
    if pipeline.has_pending_data:
        logger.warning("an interrupted run left packages; they are loaded first")
        try:
            pipeline.run()
        except PipelineStepFailed as failed:
            raise cause(failed) from None
    return pipeline


def cause(raised: BaseException) -> Exception:
    """The error of ours behind dlt's, or dlt's own."""
    seen: BaseException | None = raised
    while seen is not None:
        if isinstance(seen, InsightlyError):
            if seen.exit_code == 2:
                raise seen
            return seen
        seen = seen.__cause__ or seen.__context__
    return LoadingFailed(f"loading failed; what was loaded before stays: {raised}")
