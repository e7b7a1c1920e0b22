"""Insightly on a schedule: an hourly sync, a nightly sweep, a weekly verification, and backfills by hand.

docs/operate/scheduling.md says what to set up. Schedulers read this file again and again, so reading it needs Airflow
alone: no network, no secret, and nothing heavy is imported outside a task.

One task at a time works with an account, whichever DAG it is of and on however many workers: the account's pool has one
slot. So one process sends that key's calls, ten a second, and dlt's state in a dataset has one writer. Accounts run
beside each other on a server; DuckDB takes one writer, so there all accounts share one pool.
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
"""The accounts, by the names of docs/guide/accounts.md; each has its own connection, pool and dataset."""
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
        description="Names or presets (core, all), one a line; none for those of the setting entities.",
    ),
    "since": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Since",
        description="Read again what changed since this day (UTC). The watermark never moves back.",
    ),
    "full": Param(
        False,
        type="boolean",
        title="Everything",
        description="Read everything again, child tables too, and mark what is gone.",
    ),
    "max_calls": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Calls at most",
        description="Stop cleanly after so many calls; the next backfill, or the hourly sync, goes on from there.",
    ),
}
if len(INSTANCES) > 1:
    BACKFILL["instances"] = Param(
        INSTANCES,
        type="array",
        items={"type": "string", "enum": INSTANCES},
        title="Accounts",
        description="Whose records to read again.",
    )


def named(base: str, instance: str) -> str:
    """What belongs to an account: its connection, its pool, its task."""
    return base if instance == DEFAULT else f"{base}_{instance}"


def work(command: str, instance: str) -> dict[str, Any]:
    """Runs one command for one account, as `insightly` does.

    Args:
        command: sync, sweep, verify or backfill; or views, those over all accounts.
        instance: one of `INSTANCES`.

    Returns:
        The report, also where the run stopped at a budget or the day's quota: trying again would burn what is left.

    Raises:
        AirflowFailException: it failed, and would again.
        AirflowException: it failed, and may do better later.
        AirflowSkipException: the backfill is not for this account.
    """
    # Unasked, dlt looks for a Variable for each of its settings: some 700 calls of Airflow's API a task.
    os.environ.setdefault("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")
    from pipelines.engine.progress import watching
    from pipelines.engine.report import FAILED, STOPPED, failure
    from sources.insightly.errors import InsightlyError

    context = get_current_context()
    wanted = context["params"].get("instances")
    if wanted is not None and instance not in wanted:
        raise AirflowSkipException(f"{instance} is not among the accounts of this backfill")
    try:
        with watching("log") as watch:
            report = run(command, instance, context["params"], watch)
    except InsightlyError as error:
        report = failure(command, str(error), error.exit_code)
        report.transient = error.transient
    told: dict[str, Any] = json.loads(json.dumps(report.to_dict(), default=str))
    if report.status == FAILED:
        context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, told)
        raise (AirflowException if report.transient else AirflowFailException)(report.reason)
    if report.status == STOPPED:
        logger.warning("stopped, which is no failure; the next run goes on from here: %s", report.reason)
    else:
        logger.info("done with %d calls; left today: %s", report.calls, report.calls_left_today)
    return told


def run(command: str, instance: str, params: Any, watch: "Watch | None") -> "Report":
    from pipelines.commands.each_account import unite
    from pipelines.commands.sweep import sweep
    from pipelines.commands.sync import sync
    from pipelines.commands.verify import verify
    from pipelines.engine.report import Report
    from sources.insightly.state.request import ReadRequest
    from sources.insightly.state.times import iso, parse

    if command == "views":
        report = Report(command)
        unite(report, target())
        return report
    settings, where = settings_of(instance, params.get("max_calls")), target().for_account(instance)
    if command == "sweep":
        return sweep(settings, where, watch=watch)
    if command == "verify":
        return verify(settings, where, watch=watch)
    since = params.get("since")
    request = ReadRequest(full=params.get("full", False), since=iso(parse(since)) if since else None)
    return sync(settings, where, params.get("entities", ()), request, watch)


def settings_of(instance: str, max_calls: int | None) -> "InsightlySettings":
    """The settings: those of the account's connection, of the Variable `insightly`, then dlt's own.

    Names that share a key, each with other entities, share its calls.
    """
    from pipelines.commands.each_account import take_part
    from sources.insightly.config.settings import resolve_settings
    from sources.insightly.errors import ConfigurationError

    common, keys = variable(), dict[str, str | None]()
    settings = resolve_settings(instance, **{**common, **connected(instance)})
    for name in INSTANCES:
        with suppress(ConfigurationError):  # for that account's own task to tell
            keys[name] = resolve_settings(name, **{**common, **connected(name)}).api_key
    settings.max_calls = max_calls or settings.max_calls
    sharers = [name for name, key in keys.items() if key == settings.api_key]
    take_part(settings, len(sharers), sharers.index(instance), at_once=PARALLEL)
    return settings


def variable() -> dict[str, Any]:
    """The settings in the Airflow Variable `insightly`, a JSON object."""
    from sources.insightly.config.settings import SECRETS
    from sources.insightly.errors import BadSetting

    text = Variable.get("insightly", default="{}")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadSetting("the Variable insightly", "***", 'must be a JSON object of settings, as {"max_calls": 5000}')
    for name in SECRETS.keys() & found.keys():
        raise BadSetting(f"the Variable insightly: {name}", "***", "is shown to everyone there; use the Connection")
    return found


def connected(instance: str) -> dict[str, Any]:
    """The settings in an account's Connection: password = the key, host = the pod, extra = any other setting."""
    if (connection := find(named("insightly", instance))) is None:
        return {}
    return {"api_key": connection.password or None, "pod": connection.host or None, **connection.extra_dejson}


def target() -> "Target":
    """Where to write; a server's credentials are in the Connection `insightly_destination`, or where dlt looks."""
    from pipelines.destinations.target import Target
    from sources.insightly.errors import BadSetting

    if not PARALLEL and not os.path.isabs(DATABASE or ""):
        raise BadSetting("INSIGHTLY_DATABASE", DATABASE, "must be a file's absolute path: a task may run in any folder")
    if (server := find("insightly_destination")) is not None:
        url = f"{DESTINATION}://{server.get_uri().partition('://')[2]}"
        os.environ[f"DESTINATION__{DESTINATION.upper()}__CREDENTIALS"] = url
    return Target(DESTINATION, DATASET, DATABASE)


def find(conn_id: str) -> Connection | None:
    try:
        return Connection.get(conn_id)
    except AirflowNotFoundException:
        return None


def make(command: str, description: str, schedule: str | None, params: dict[str, Param] | None = None) -> None:
    """A DAG with a task an account."""
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
        tasks = [add(command, instance) for instance in INSTANCES]
        if command == "sync" and len(INSTANCES) > 1:
            # As a teardown it follows whatever becomes of the accounts, and hides no failure of theirs.
            tasks >> add("views", DEFAULT).operator.as_teardown(on_failure_fail_dagrun=True)


def add(command: str, instance: str) -> Any:
    pool = named("insightly", instance if PARALLEL else DEFAULT)
    weight = 2 if command == "sync" else 1  # it goes first where several wait for the slot
    return task(task_id=named(command, instance), pool=pool, priority_weight=weight)(work)(command, instance)


make("sync", "What changed in Insightly since the last run", "5 * * * *")
make("sweep", "The records that were deleted in Insightly", "35 2 * * *")
make("verify", "Proof that the destination holds what Insightly holds", "35 4 * * 0")
make("backfill", "Entities read again, from a day on or in full", None, BACKFILL)
