"""The command `insightly marts`: creates the views of all marts, or prints their SQL."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import dlt
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from sqlglot import exp

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import FAILED, Report
from sources.insightly.config.accounts import VIEWS
from sources.insightly.errors import BadSetting, InsightlyError

from .comments import Descriptions
from .dialect import TESTED, ViewWriter, writer_of
from .marts import DIALECT, Mart, MartPlan, Unusable, load, plan
from .registry import Registry, View, one_line
from .relations import known_tables, loaded_tables

logger = logging.getLogger(__name__)

LIST = "_marts"
"""The view that lists the others."""
CREATED, SKIPPED, INVALID, PRINTED = "created", "skipped", "failed", "written"

Row = dict[str, Any]


class NotAllowed(InsightlyError):
    """The destination does not let this user create views."""


def create_views(target: Target, folder: str | None = None) -> Report:
    """Creates the views of all marts whose tables exist, and drops those whose marts no longer exist.

    Args:
        target: the destination; the views go to the dataset `<dataset>_marts`.
        folder: a folder with marts of the user. Without it, the views that such a folder gave before stay.

    Returns:
        A report whose fact `marts` has a row for each mart: state, reason, the question it answers, the view and its
        number of rows, the tables it needs, and those it does without. A mart that is wrong, or that the destination
        refuses, is a failure; a mart with missing tables is not.

    Raises:
        BadSetting: the folder does not exist, or the destination has no views.
        NothingSynced: there are no tables yet.
        Busy: another run is using the destination.
        NotAllowed: the destination does not let this user create views.
    """
    started, report = time.monotonic(), Report("marts")
    marts = marts_of(folder)
    assert_possible(target)
    target.require_exists()
    with target.lock(), target.stored_pipeline(read_only=False) as pipeline:
        if pipeline.default_schema_name is None:
            raise NothingSynced(target)
        schema = pipeline.default_schema
        tables = loaded_tables(schema)
        plans = plan(marts, tables, known_tables(schema.naming.normalize_path))
        described = Descriptions(schema.tables, tables)
        target.adapter.limit_memory(pipeline)
        with pipeline.sql_client() as client:
            dataset = client.dataset_name + VIEWS
            try:
                add_rows(report, _refresh(client, dataset, plans, described, with_own=folder is not None))
            except DatabaseException as error:
                raise NotAllowed(f"no views can be created in {dataset}: {one_line(error)}") from None
    report.seconds = time.monotonic() - started
    return report


def refresh_after_sync(report: Report, target: Target) -> None:
    """Refreshes the views after a successful sync and adds the result to its report, which fails if they do."""
    if report.exit_code not in (0, 3):
        return
    try:
        created = create_views(target)
    except InsightlyError as error:
        created = Report("marts", FAILED, str(error), exit_code=1)
    report.facts |= created.facts
    report.seconds += created.seconds
    if created.status == FAILED:
        report.fail(f"marts: {created.reason}")


def statements(target: Target, folder: str | None = None) -> Report:
    """Writes the SQL of all marts for a destination without connecting to it.

    The marts are written over all tables that an account can have, without custom fields.

    Returns:
        A report whose fact `marts` has the `sql` of each mart and the question it answers.

    Raises:
        BadSetting: the folder does not exist, or the destination has no SQL.
    """
    naming, marts = NamingConvention(), marts_of(folder)
    dialect, capabilities = dialect_of(target), target.adapter.factory().capabilities()
    dataset = capabilities.casefold_identifier(naming.normalize_table_identifier(target.dataset))
    # ClickHouse has no schemas: dlt puts the name of the dataset before that of the table.
    separator = getattr(target.adapter.factory().spec, "dataset_table_separator", None)

    def path(dataset: str, name: str) -> list[str]:
        name = capabilities.casefold_identifier(name)
        return [f"{dataset}{separator}{name}"] if separator else [dataset, name]

    writer = ViewWriter(
        dialect,
        capabilities.casefold_identifier,
        lambda name: path(dataset, name),
        lambda name: path(dataset + capabilities.casefold_identifier(VIEWS), name),
    )
    tables, rows = known_tables(naming.normalize_path), dict[str, Row]()
    for planned in plan(marts, tables, tables):
        state, reason, sql = result_of(planned, writer.create, PRINTED)
        rows[planned.mart.name] = {"state": state, "reason": reason, "answers": planned.mart.answers, "sql": sql}
    report = Report("marts")
    add_rows(report, rows)
    return report


def query(
    pipeline: dlt.Pipeline, dataset: Dataset, questions: Sequence[Mart], at: datetime
) -> dict[str, list[Row] | str]:
    """Runs queries over the tables and the bundled marts, whether or not the views of these exist.

    Args:
        pipeline: the pipeline over the destination.
        dataset: its tables.
        questions: the queries.
        at: the time that is `current_timestamp` in all of them.

    Returns:
        The rows of each query, or the reason why it cannot be run.
    """
    schema, now = pipeline.default_schema, exp.cast(exp.Literal.string(at.isoformat()), "TIMESTAMPTZ", dialect=DIALECT)
    with pipeline.sql_client() as client:
        writer = writer_of(client, client.dataset_name)
    tables, known = loaded_tables(schema), known_tables(schema.naming.normalize_path)
    plans = plan([*load(bundled()), *questions], tables, known, {each.name for each in questions})
    answers = dict[str, list[Row] | str]()
    for each in plans:
        answers[each.mart.name] = str(each.reason)
        if each.query is not None:
            for current in list(each.query.find_all(exp.CurrentTimestamp)):
                current.replace(now.copy())
            answers[each.mart.name] = dataset.query(writer.select(each.query))
    return answers


def assert_possible(target: Target) -> None:
    """Raises BadSetting if the destination has no views."""
    dialect_of(target)
    if not target.adapter.sql:
        fix = "has no views; print their SQL with insightly marts --print, and run it where the files are read"
        raise BadSetting("--destination", target.destination, fix)


def bundled() -> Path:
    """The folder of the bundled marts: marts/ in the repository, insightly_marts/ in an installed package."""
    installed = Path(__file__).parents[1] / "insightly_marts"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "marts"


def _refresh(
    client: Any, dataset: str, plans: Sequence[MartPlan], described: Descriptions, with_own: bool
) -> dict[str, Row]:
    """Creates, replaces and drops views.

    Args:
        client: dlt's SQL client, connected.
        dataset: of the views.
        plans: the marts.
        described: what the tables that the marts read are.
        with_own: whether the user's marts are among them; if not, their views stay.

    Returns:
        The row of each mart.
    """
    with client.with_alternative_dataset_name(dataset):
        if not client.has_dataset():
            client.create_dataset()
    writer, views, rows = writer_of(client, dataset), dict[str, View](), dict[str, Row]()
    registry = Registry(client, writer, LIST, ("mart", "own", "answers"))
    keep = {name for name, entry in registry.entries.items() if entry.facts[0] and not with_own}
    for planned in plans:
        mart = planned.mart
        if mart.name in keep:
            continue
        state, reason, create = result_of(planned, writer.create, CREATED)
        rows[mart.name] = row_of(state, reason, mart.answers, planned.needs, planned.without)
        # The mart may have been valid before: then its view stays.
        if state != SKIPPED:
            facts, comments = (mart.own, mart.answers), partial(described.comments, planned)
            views[mart.name] = View(create, facts, comments, described.behind(planned))
    counts = dict[str, int]()

    def exists(name: str) -> bool:
        try:
            counts[name] = int(client.execute_sql(writer.count(name))[0][0])
        except DatabaseUndefinedRelation:
            return False
        return True

    answers = {name: str(entry.facts[1]) for name, entry in registry.entries.items()}
    failed = registry.refresh(views, exists, keep).failed
    for name, row in rows.items():
        if row["state"] == CREATED and name not in failed:
            try:
                if name not in counts:
                    exists(name)
                row |= {"view": ".".join(writer.view(name)), "rows": counts.get(name)}
            except DatabaseException as error:
                failed[name] = one_line(error)
    for name, message in failed.items():
        row = rows.setdefault(name, row_of(INVALID, message, answers.get(name, "")))
        row |= {"state": INVALID, "reason": message}
    return rows


def row_of(state: str, reason: str | None, answers: str, needs: Sequence[str] = (), without: Sequence[str] = ()) -> Row:
    """The row of a mart in a report."""
    row: Row = {"state": state, "reason": reason, "answers": answers, "view": None, "rows": None}
    return {**row, "needs": list(needs), "without": list(without)}


def result_of(
    planned: MartPlan, write: Callable[[str, exp.Query], str], done: str
) -> tuple[str, str | None, str | None]:
    """State and reason of a mart, and its statement if there is one.

    Args:
        planned: the mart.
        write: its name and its query -> the statement.
        done: the state if it can be written.
    """
    if planned.query is None:
        return INVALID if planned.invalid else SKIPPED, planned.reason, None
    try:
        return done, None, write(planned.mart.name, planned.query)
    except Unusable as error:
        return INVALID, str(error), None


def marts_of(folder: str | None) -> list[Mart]:
    """The bundled marts and those of a folder. Raises BadSetting if it does not exist."""
    if folder is None:
        return load(bundled())
    if not Path(folder).is_dir():
        raise BadSetting("--folder", folder, "must be a folder with .sql files, one SELECT each")
    return [*load(bundled()), *load(Path(folder), own=True)]


def dialect_of(target: Target) -> str:
    """sqlglot's name of the destination's SQL. Raises BadSetting if it has none."""
    dialect = target.adapter.factory().capabilities().sqlglot_dialect
    if dialect is None:
        raise BadSetting("--destination", target.destination, "has no SQL that marts can be written in")
    if dialect not in TESTED:
        logger.warning("marts are not tested on %s; their SQL may not run", target.destination)
    return str(dialect)


def add_rows(report: Report, rows: dict[str, Row]) -> None:
    """Adds the rows of all marts to a report, which fails if one of them is wrong."""
    report.facts["marts"] = rows
    if failed := [f"{name}: {row['reason']}" for name, row in rows.items() if row["state"] == INVALID]:
        report.fail("; ".join(failed))
