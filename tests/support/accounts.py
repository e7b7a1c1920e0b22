"""Several accounts in one destination, and the views over all of them."""

from pipelines.views.all_accounts import AllAccounts, refresh
from tests.support.crm import Crm


def execute(database: Crm, *statements: str) -> None:
    for statement in statements:
        database.change(statement)


def create_dataset(database: Crm, dataset: str, **tables: str) -> None:
    """Creates a dataset as a sync leaves it, with tables by their columns."""
    execute(database, f"create schema if not exists {dataset}")
    for table, columns in {"_sync_runs": "run_id varchar", "_dlt_loads": "load_id varchar", **tables}.items():
        execute(database, f'create table if not exists {dataset}."{table}" ({columns})')


def refresh_views(database: Crm) -> AllAccounts:
    return refresh(database.target)


def type_of(database: Crm, table: str, column: str) -> str:
    where = f"table_schema = 'insightly_all' and table_name = '{table}' and column_name = '{column}'"
    (row,) = database.read(f"select data_type from information_schema.columns where {where}")
    return str(row["data_type"]).lower()
