"""Several accounts in one destination, and the views over all of them."""

from pipelines.views.all_accounts import AllAccounts, refresh
from tests.support.crm import Crm


def tell(database: Crm, *statements: str) -> None:
    for statement in statements:
        database.change(statement)


def hold(database: Crm, dataset: str, **tables: str) -> None:
    """Makes a dataset as a sync leaves one, with tables by their columns."""
    tell(database, f"create schema if not exists {dataset}")
    for table, columns in {"_sync_runs": "run_id varchar", "_dlt_loads": "load_id varchar", **tables}.items():
        tell(database, f'create table if not exists {dataset}."{table}" ({columns})')


def all_of(database: Crm) -> AllAccounts:
    return refresh(database.target)


def type_of(database: Crm, table: str, column: str) -> str:
    held = f"table_schema = 'insightly_all' and table_name = '{table}' and column_name = '{column}'"
    (row,) = database.read(f"select data_type from information_schema.columns where {held}")
    return str(row["data_type"]).lower()
