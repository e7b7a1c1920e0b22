"""Packages that an interrupted run left, and the cause of a failed load."""

import logging

import dlt
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.insightly import InsightlyError
from sources.insightly.errors import chain

from .dlt_options import wrong_option
from .pipeline_state import continue_load_ids
from .target import LoadingFailed, Target

logger = logging.getLogger(__name__)


def recover_pipeline(target: Target) -> dlt.Pipeline:
    """The pipeline, with the packages of an interrupted run loaded.

    While a package is pending, dlt loads it and extracts nothing new (dlt#3227).
    A package whose load had started is dropped and its rows are read again. dlt would copy an unfinished file a second
    time, and child rows merge by their parent's key alone, so they would be loaded twice.

    Raises:
        InsightlyError: a pending package cannot be loaded.
    """
    pipeline = target.pipeline()
    if pipeline.has_pending_data and _load_started(pipeline):
        logger.warning("A load was interrupted. This run reads its unfinished rows again.")
        pipeline.drop()
        pipeline = target.pipeline()
    if pipeline.has_pending_data:
        logger.warning("An interrupted run left packages. Loading them first.")
        try:
            pipeline.run()
        except PipelineStepFailed as failed:
            raise cause(failed, target) from None
    continue_load_ids(pipeline)
    return pipeline


def _load_started(pipeline: dlt.Pipeline) -> bool:
    """True if a job of a pending package was started."""
    packages = map(pipeline.get_load_package_info, pipeline.list_normalized_load_packages())
    return any(
        state != "new_jobs" or job.job_file_info.retry_count
        for package in packages
        for state, jobs in package.jobs.items()
        for job in jobs
    )


def cause(raised: BaseException, target: Target) -> Exception:
    """The InsightlyError behind an error of dlt, else LoadingFailed with its message.

    Raises:
        InsightlyError: the cause is an error of the configuration (exit code 2).
        KeyboardInterrupt: the cause is an interruption.
    """
    for error in chain(wrong_option(raised) or raised):
        if isinstance(error, KeyboardInterrupt):
            raise error
        if isinstance(error, InsightlyError):
            if error.exit_code == 2:
                raise error
            return error
    return LoadingFailed(f"loading failed; rows loaded before are kept: {target.reason(raised)}")
