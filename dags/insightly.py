"""Insightly on a schedule: an hourly sync, a nightly sweep, a weekly verification, and backfills by hand.

docs/operate/scheduling.md says what to set up. Schedulers parse this file all the time, so parsing it needs only
Airflow: no network, no secret, no heavy import outside a task.

One task at a time uses an account, over all DAGs and workers, because the account's pool has one slot. So one process
sends the calls of a key, ten a second, and dlt's state in a dataset has one writer. On a server, accounts run in
parallel. DuckDB allows one writer, so all accounts on DuckDB share one pool.
"""

import json
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Connection, Param, Variable, get_current_context, task
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

if TYPE_CHECKING:
    from pipelines.destinations.target import Target
    from pipelines.engine.report import Report
    from pipelines.engine.runner import Watch
    from sources.insightly.config.settings import InsightlySettings

logger = logging.getLogger(__name__)

DEFAULT = "default"
DESTINATION = os.environ.get("INSIGHTLY_DESTINATION") or "duckdb"
DATASET = os.environ.get("INSIGHTLY_DATASET") or "insightly"
DATABASE = os.environ.get("INSIGHTLY_DATABASE")
INSTANCES = (os.environ.get("INSIGHTLY_INSTANCES") or DEFAULT).split()
"""Names of accounts (docs/guide/accounts.md); each has its own connection, pool and dataset."""
PARALLEL = DESTINATION != "duckdb"

RETRIES = {
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(hours=1),
}
BACKFILL = {
    "entities": Param(
        [],
        type="array",
        items={"type": "string"},
        title="Entities",
        description="Names or presets (core, all), one per line; none for the setting entities.",
    ),
    "since": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Since",
        description="Read again what changed since this day (UTC). The watermark does not move back.",
    ),
    "full": Param(
        False,
        type="boolean",
        title="Everything",
        description="Read everything again, with child tables, and mark deleted records.",
    ),
    "max_calls": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Maximum number of calls",
        description="Stop after this many calls; the next backfill or hourly sync continues.",
    ),
}
if len(INSTANCES) > 1:
    BACKFILL["instances"] = Param(
        INSTANCES,
        type="array",
        items={"type": "string", "enum": INSTANCES},
        title="Accounts",
        description="The accounts to read again.",
    )


def name_of(base: str, instance: str) -> str:
    """The name of an account's connection, pool or task."""
    return base if instance == DEFAULT else f"{base}_{instance}"


def work(command: str, instance: str) -> dict[str, Any]:
    """Runs one command for one account, as `insightly` does.

    Args:
        command: sync, sweep, verify, backfill, or views (those over all accounts).
        instance: one of `INSTANCES`.

    Returns:
        The report, also if the run stopped at a budget or the day's quota: a retry would use up the remaining calls.

    Raises:
        AirflowFailException: the run failed, and a retry would fail too.
        AirflowException: the run failed, and a retry may succeed.
        AirflowSkipException: the backfill is not for this account.
    """
    # Without this, dlt looks for a Variable for each of its settings: about 700 calls to Airflow's API per task.
    os.environ.setdefault("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")
    from pipelines.engine.progress import show_progress
    from pipelines.engine.report import FAILED, STOPPED, failure_report
    from sources.insightly.errors import InsightlyError

    context = get_current_context()
    accounts = context["params"].get("instances")
    if accounts is not None and instance not in accounts:
        raise AirflowSkipException(f"this backfill is not for the account {instance}")
    try:
        with show_progress("log") as progress:
            report = run(command, instance, context["params"], progress.watch)
    except InsightlyError as error:
        report = failure_report(command, str(error), error.exit_code)
        report.transient = error.transient
    result: dict[str, Any] = json.loads(json.dumps(report.to_dict(), default=str))
    if report.status == FAILED:
        context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, result)
        raise (AirflowException if report.transient else AirflowFailException)(report.reason)
    if report.status == STOPPED:
        logger.warning("Stopped early (budget or quota); the next run continues: %s", report.reason)
    else:
        logger.info("done: %d calls, %s left today", report.calls, report.calls_left_today)
    return result


def run(command: str, instance: str, params: Any, watch: "Watch | None") -> "Report":
    """Runs a command; raises InsightlyError if it cannot start."""
    from pipelines.commands.sweep import sweep
    from pipelines.commands.sync import sync
    from pipelines.commands.verify import verify
    from pipelines.engine.report import Report
    from pipelines.views.all_accounts import refresh_after
    from sources.insightly.state.request import ReadRequest
    from sources.insightly.state.times import iso, parse

    if command == "views":
        report = Report(command)
        refresh_after(report, target())
        return report
    settings, account = settings_of(instance, params.get("max_calls")), target().for_account(instance)
    if command == "sweep":
        return sweep(settings, account, watch=watch)
    if command == "verify":
        return verify(settings, account, watch=watch)
    since = params.get("since")
    request = ReadRequest(full=params.get("full", False), since=iso(parse(since)) if since else None)
    return sync(settings, account, params.get("entities", ()), request, watch)


def settings_of(instance: str, max_calls: int | None) -> "InsightlySettings":
    """The settings of an account: from its Connection, then the Variable `insightly`, then dlt's own providers.

    Accounts that share a key, each with other entities, share its calls.
    """
    from pipelines.commands.each_account import share_limits
    from sources.insightly.config.settings import resolve_settings
    from sources.insightly.errors import ConfigurationError

    common, keys = variable_settings(), dict[str, str | None]()
    settings = resolve_settings(instance, **{**common, **connection_settings(instance)})
    for name in INSTANCES:
        with suppress(ConfigurationError):  # that account's own task reports it
            keys[name] = resolve_settings(name, **{**common, **connection_settings(name)}).api_key
    settings.max_calls = max_calls or settings.max_calls
    sharing = [name for name, key in keys.items() if key == settings.api_key]
    share_limits(settings, len(sharing), sharing.index(instance), concurrent=PARALLEL)
    return settings


def variable_settings() -> dict[str, Any]:
    """The settings in the Airflow Variable `insightly`, a JSON object."""
    from sources.insightly.config.settings import SECRETS
    from sources.insightly.errors import BadSetting

    text = Variable.get("insightly", default="{}")
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise BadSetting(
            "the Variable insightly", "***", 'must be a JSON object of settings, such as {"max_calls": 5000}'
        )
    for name in settings.keys() & {*SECRETS}:
        raise BadSetting(f"the Variable insightly: {name}", "***", "is visible to everyone; use the Connection")
    return settings


def connection_settings(instance: str) -> dict[str, Any]:
    """The settings in an account's Connection: password = the key, host = the pod, extra = any other setting."""
    if (connection := find_connection(name_of("insightly", instance))) is None:
        return {}
    return {"api_key": connection.password or None, "pod": connection.host or None, **connection.extra_dejson}


def target() -> "Target":
    """Where to write. A server's credentials are in the Connection `insightly_destination`, or where dlt looks."""
    from pipelines.destinations.target import Target
    from sources.insightly.errors import BadSetting

    if not PARALLEL and not os.path.isabs(DATABASE or ""):
        raise BadSetting(
            "INSIGHTLY_DATABASE", DATABASE, "must be the absolute path of a file: a task may run in any folder"
        )
    if (server := find_connection("insightly_destination")) is not None:
        url = f"{DESTINATION}://{server.get_uri().partition('://')[2]}"
        os.environ[f"DESTINATION__{DESTINATION.upper()}__CREDENTIALS"] = url
    return Target(DESTINATION, DATASET, DATABASE)


def find_connection(conn_id: str) -> Connection | None:
    try:
        return Connection.get(conn_id)
    except AirflowNotFoundException:
        return None


def make_dag(command: str, description: str, schedule: str | None, params: dict[str, Param] | None = None) -> None:
    """Makes a DAG with one task per account."""
    with DAG(
        f"insightly_{command}",
        description=description,
        schedule=schedule,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        params=params,
        default_args=RETRIES,
        tags=["insightly"],
    ):
        tasks = [add_task(command, instance) for instance in INSTANCES]
        if command == "sync" and len(INSTANCES) > 1:
            # A teardown runs after failures too, and does not hide them.
            tasks >> add_task("views", DEFAULT).operator.as_teardown(on_failure_fail_dagrun=True)


def add_task(command: str, instance: str) -> Any:
    pool = name_of("insightly", instance if PARALLEL else DEFAULT)
    weight = 2 if command == "sync" else 1  # it runs first if several tasks wait for the slot
    return task(task_id=name_of(command, instance), pool=pool, priority_weight=weight)(work)(command, instance)


make_dag("sync", "Load what changed in Insightly since the last run", "5 * * * *")
make_dag("sweep", "Find the records that were deleted in Insightly", "35 2 * * *")
make_dag("verify", "Compare the destination with Insightly", "35 4 * * 0")
make_dag("backfill", "Read entities again, since a day or in full", None, BACKFILL)
