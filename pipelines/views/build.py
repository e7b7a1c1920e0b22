"""The command `insightly marts`: what becomes of each mart, as views of a destination or as SQL to look at."""

import logging
import time
from collections.abc import Collection
from pathlib import Path

import dlt
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.destinations.exceptions import DatabaseException

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import FAILED, Report
from sources.insightly.config.accounts import VIEWS
from sources.insightly.errors import BadSetting, InsightlyError

from .dialect import TRIED, ViewWriter
from .marts import Mart, Unusable, load, plan
from .registry import FAULTY, SKIPPED, Row, Views, words, writer_of
from .relations import held, known

logger = logging.getLogger(__name__)

WRITTEN = "written"


class Refused(InsightlyError):
    """The destination lets nobody make views there."""


def create_views(target: Target, folder: str | None = None) -> Report:
    """Makes the views of all marts whose tables are there, and drops those whose marts have gone.

    Args:
        target: the destination; the views go beside its dataset, into `<dataset>_marts`.
        folder: more marts, of the user's.

    Returns:
        A report whose facts have, in `marts`, a row for each mart: state, reason, what it answers, the view, how many
        rows it has, the tables it needs, and those it does without. A mart that is wrong or that the destination
        refuses is a failure; one whose tables are missing is not.

    Raises:
        BadSetting: the folder is none, or the destination keeps no views.
        NothingSynced: there is nothing to make views of.
        Busy: another run holds the destination.
        Refused: the destination lets nobody make them.
    """
    begun, report = time.monotonic(), Report("marts")
    marts = _marts(folder)
    assert_possible(target)
    target.require_exists()
    with target.lock():
        pipeline = target.pipeline()
        if pipeline.default_schema_name is None:
            raise NothingSynced(target)
        schema = pipeline.default_schema
        plans = plan(marts, held(schema), known(schema.naming.normalize_path))
        with target.adapter.keep_open(pipeline), pipeline.sql_client() as client:
            views = Views(client, client.dataset_name + VIEWS)
            try:
                _conclude(report, views.make(plans, with_own=folder is not None))
            except DatabaseException as error:
                raise Refused(f"no views can be made in {views.dataset}: {words(error)}") from None
    report.seconds = time.monotonic() - begun
    return report


def refresh_after_sync(report: Report, target: Target) -> None:
    """Makes the views after a sync that ended well, into its report; what it loaded stays, whatever becomes of them."""
    if report.exit_code not in (0, 3):
        return
    try:
        made = create_views(target)
    except InsightlyError as error:
        made = Report("marts", FAILED, str(error), exit_code=1)
    report.facts |= made.facts
    report.seconds += made.seconds
    if made.status == FAILED:
        report.status, report.exit_code, report.reason = FAILED, 1, f"marts: {made.reason}"


def statements(target: Target, folder: str | None = None) -> Report:
    """The statements for a destination, without connecting to it: over all tables there can be, without custom fields.

    Returns:
        A report whose facts have, in `marts`, the `sql` of each mart and what it answers.

    Raises:
        BadSetting: the folder is none, or the destination speaks no SQL.
    """
    naming, marts = NamingConvention(), _marts(folder)
    dialect, caps = _dialect(target), target.adapter.factory().capabilities()
    dataset = caps.casefold_identifier(naming.normalize_table_identifier(target.dataset))
    # ClickHouse has no schemas: dlt writes the dataset's name before the table's.
    joined = getattr(target.adapter.factory().spec, "dataset_table_separator", None)

    def path(dataset: str, name: str) -> list[str]:
        name = caps.casefold_identifier(name)
        return [f"{dataset}{joined}{name}"] if joined else [dataset, name]

    writer = ViewWriter(
        dialect,
        caps.casefold_identifier,
        lambda name: path(dataset, name),
        lambda name: path(dataset + caps.casefold_identifier(VIEWS), name),
    )
    tables, rows = known(naming.normalize_path), dict[str, Row]()
    for each in plan(marts, tables, tables):
        state, reason, sql = (FAULTY if each.faulty else SKIPPED), each.reason, None
        if each.query:
            try:
                state, sql = WRITTEN, writer.create(each)
            except Unusable as error:
                state, reason = FAULTY, str(error)
        rows[each.mart.name] = {"state": state, "reason": reason, "answers": each.mart.answers, "sql": sql}
    report = Report("marts")
    _conclude(report, rows)
    return report


def answers(pipeline: dlt.Pipeline, dataset: Dataset, names: Collection[str]) -> dict[str, list[Row] | str]:
    """What marts answer, whether there are views of them or not.

    Args:
        pipeline: the pipeline over the destination.
        dataset: its tables.
        names: of this package's own marts.

    Returns:
        Of each, its rows, or why there are none.
    """
    schema = pipeline.default_schema
    with pipeline.sql_client() as client:
        writer = writer_of(client, client.dataset_name)
    planned = plan(load(bundled()), held(schema), known(schema.naming.normalize_path))
    asked = {each.mart.name: each for each in planned if each.mart.name in names}
    return {name: each.reason or dataset.query(writer.ask(each)) for name, each in asked.items()}


def assert_possible(target: Target) -> None:
    """Raises BadSetting where the destination keeps no views."""
    _dialect(target)
    if not target.adapter.sql:
        fix = "keeps no views; write them with insightly marts --print, and run them where the files are read"
        raise BadSetting("--destination", target.destination, fix)
    # As for the dataset itself: DuckDB cannot tell a file from a schema of its name.
    if target.destination == "duckdb" and target.path.stem.lower() == f"{target.dataset}{VIEWS}".lower():
        fix = f"DuckDB cannot tell this file from {target.dataset}{VIEWS}, where views go; rename it"
        raise BadSetting("--database", target.path.name, fix)


def bundled() -> Path:
    """The folder of this package's own marts: the repository's marts/, which a wheel has beside this module.

    An installed package called `marts` could be somebody's.
    """
    installed = Path(__file__).parents[1] / "insightly_marts"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "marts"


def _marts(folder: str | None) -> list[Mart]:
    if folder is None:
        return load(bundled())
    if not Path(folder).is_dir():
        raise BadSetting("--folder", folder, "must be a folder with .sql files, one SELECT each")
    return [*load(bundled()), *load(Path(folder), own=True)]


def _dialect(target: Target) -> str:
    dialect = target.adapter.factory().capabilities().sqlglot_dialect
    if dialect is None:
        raise BadSetting("--destination", target.destination, "speaks no SQL that marts can be written in")
    if dialect not in TRIED:
        logger.warning("marts were never tried on %s; what sqlglot writes for it may not run", target.destination)
    return str(dialect)


def _conclude(report: Report, rows: dict[str, Row]) -> None:
    report.facts["marts"] = rows
    if failed := [f"{name}: {row['reason']}" for name, row in rows.items() if row["state"] == FAULTY]:
        report.status, report.exit_code, report.reason = FAILED, 1, "; ".join(failed)
