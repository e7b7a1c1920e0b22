"""The command `insightly marts --dbt FOLDER`: writes a dbt package over the tables of a destination."""

import time
from collections.abc import Collection
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.destinations.system_tables import description_of
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import Report
from sources.insightly.config.accounts import DEFAULT
from sources.insightly.errors import BadSetting

from ..build import PRINTED, add_rows, dialect_of, marts_of, result_of, row_of
from ..comments import Descriptions
from ..dialect import writer_of
from ..marts import plan
from ..relations import known_tables, loaded_tables
from .folder import OPTION, write
from .models import ModelWriter, Names
from .package import Package
from .sources import source_tables

PACKAGE = "insightly"


def write_package(
    target: Target, output: str, account: str | None, marts: str | None, exposed: Collection[str]
) -> Report:
    """Writes a dbt package, in the destination's dialect, from the tables that exist and the marts over them.

    Args:
        target: the destination, which is only read.
        output: the folder of the package; what this program did not write there is not touched.
        account: the account's name, which the names of its package and models have in them.
        marts: a folder with marts of the user.
        exposed: the marts that the dashboard shows.

    Returns:
        A report whose fact `marts` has a row for each mart, as `create_views` returns, with the name of its `model`;
        and whose fact `dbt` says which files were written, removed, or stayed as they were.

    Raises:
        BadSetting: a folder cannot be used, a file of another author is in the way, or the destination has no SQL.
        NothingSynced: there are no tables yet.
        Busy: another run is using the destination.
        Unreachable: the destination does not answer.
    """
    started, report, rows = time.monotonic(), Report("marts"), dict[str, dict[str, Any]]()
    if not output.strip():
        raise BadSetting(OPTION, output, "must be a folder for the package, such as insightly_dbt")
    defined = marts_of(marts)
    dialect_of(target)
    target.require_sql(f"{OPTION} needs a database that dbt can query")
    target.require_exists()
    with target.reading() as pipeline, target.open_dataset(pipeline) as dataset, pipeline.sql_client() as client:
        if pipeline.default_schema_name is None:
            raise NothingSynced(target)
        schema, normalize = pipeline.default_schema, pipeline.default_schema.naming.normalize_path
        tables, known = loaded_tables(schema), known_tables(normalize)
        package = PACKAGE if account in (None, DEFAULT) else f"{PACKAGE}_{account}"
        names = Names(package, schema.naming.shorten_fragments)
        sources = source_tables(schema.tables, dataset.entities(), normalize, description_of)
        plans = {planned.mart.name: planned for planned in plan(defined, tables, known)}
        models = ModelWriter(writer_of(client, client.dataset_name), names, sources, plans)
        paths = {name: client.make_qualified_table_name_path(name, quote=False) for name in sources}
    marts_written = dict[str, str]()
    for planned in plans.values():
        mart = planned.mart
        if mart.generated:
            continue
        state, reason, sql = result_of(planned, lambda name, _: models.mart(plans[name]), PRINTED)
        if sql is not None:
            marts_written[mart.name] = sql
        row = row_of(state, reason, mart.answers, planned.needs, planned.without)
        rows[mart.name] = {**row, "model": None if sql is None else names.mart(mart.name)}

    # What a column is does not depend on which tables exist.
    possible = {**known, **tables}
    described = Descriptions(schema.tables, possible)
    comments = {each.mart.name: described.comments(each) for each in plan(defined, possible, known)}
    files = Package(models, marts_written, comments, exposed, paths, version("insightly-sync")).files()
    report.facts["dbt"] = {"folder": output, "package": package, **asdict(write(Path(output), files))}
    add_rows(report, rows)
    report.seconds = time.monotonic() - started
    return report
