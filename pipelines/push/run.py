"""A push: validates the rows, plans, carries them out, and reads the written records back."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.system_tables import PUSHES, ensure_table
from pipelines.destinations.target import Target
from pipelines.engine import history
from pipelines.engine.report import EntityReport, Report
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.errors import InsightlyError, plural
from sources.insightly.state.times import iso

from .execute import Executor
from .execute_tags import TagExecutor
from .input import PushInput, push_id, read_input
from .ledger import DONE, FAILED, FINAL, MISSING, PENDING, UNKNOWN, WRITES, Ledger
from .plan import Plan, make_plan, summary
from .preview import preview
from .reload import read_again
from .request import PushRequest, fetch_definitions, stored_definitions, with_lines
from .validate import Definitions, Row

Confirm = Callable[[Plan], bool]
RESULTS = {
    "created": "create",
    "updated": "update",
    "deleted": "delete",
    "missing": MISSING,
    "unchanged": "none",
}


class InvalidRows(InsightlyError):
    """Some rows cannot be sent; nothing was sent."""


class Unconfirmed(InsightlyError):
    """The user answered the question with no; nothing was sent."""


def dry_run(settings: InsightlySettings, target: Target, request: PushRequest) -> Report:
    """Validates the rows and plans the push. Sends and writes nothing.

    Returns:
        A report with the plan. Its exit code is 1 if a row is invalid and `skip_invalid` is not set.

    Raises:
        BadSetting: the request is invalid, or its source cannot be read.
    """
    push = _Push(settings, request)
    with ExitStack() as stack:
        dataset = None
        if target.exists():
            dataset = stack.enter_context(target.open_dataset(stack.enter_context(target.reading())))
        push.read(dataset)
        push.validate(stored_definitions(dataset, push.entity), dataset)
        has_account = dataset is not None and dataset.has_account
        plan = push.make_plan(push.open_rows(again=request.again), dataset, has_account)
    entity = EntityReport("ok", rows=plan.rows, facts={"push": asdict(plan)})
    report = Report("push", entities={request.entity: entity}, facts={"dry_run": True})
    if plan.invalid and not request.skip_invalid:
        entity.state, entity.reason = "failed", str(_invalid_rows(plan))
    report.conclude(None, [], set())
    return report


def push(
    settings: InsightlySettings,
    target: Target,
    request: PushRequest,
    confirm: Confirm = lambda _: True,
    watch: Watch | None = None,
) -> Report:
    """Sends the rows of a file, table or query to Insightly, each of them once.

    Args:
        settings: validated settings with a key; `max_calls` limits this run.
        target: the destination, which has the ledger and the tables.
        request: what to push.
        confirm: called with the plan before anything is written; False ends the push.
        watch: called with the context at each progress.

    Raises:
        ConfigurationError, Busy: nothing was written.
    """
    work = _Push(settings, request)
    with opened("push", settings, target, None, watch) as runner:
        with runner.attempt():
            runner.check_account()
            work.run(runner, confirm)
        return runner.report(work.chosen, [request.entity], work.add_results)


class _Push:
    """One push: its rows, its plan and its ledger.

    Attributes:
        chosen: the entities that the push writes and reads back.
        already_done_at: when an earlier run finished the push, if this run has nothing to do.
    """

    def __init__(self, settings: InsightlySettings, request: PushRequest) -> None:
        self.settings, self.request, self.entity = settings, request, request.require_entity()
        self.chosen = [request.entity]
        self.input = PushInput([], "")
        self.rows: list[Row] = []
        self.valid: list[Row] = []
        self.match: str | None = None
        self.plan: Plan | None = None
        self.ledger: Ledger | None = None
        self.already_done_at: datetime | None = None

    @property
    def push_id(self) -> str:
        return push_id(self.request.op, self.request.entity, self.request.match, self.input.digest)

    def read(self, dataset: Dataset | None) -> None:
        """Reads the input, and the ledger if the table exists."""
        request = self.request
        self.input = read_input(request.source, dataset, request.delimiter, request.encoding)
        if dataset is not None and dataset.table_exists(PUSHES):
            self.ledger = Ledger(dataset, self.push_id, self.request.entity, self.request.op)

    def validate(self, definitions: Definitions | None, dataset: Dataset | None) -> None:
        """Checks the rows by the entity's fields and the definitions of its custom fields."""
        self.rows, self.match = self.request.validate(self.entity, self.input, definitions, dataset, self._masked)
        self.valid = [row for row in self.rows if not row.problems]

    @property
    def _masked(self) -> Mapping[str, object]:
        return self.settings.privacy.rules.get(self.entity.name, {})

    def open_rows(self, again: bool) -> list[Row]:
        """The valid rows that the ledger does not have as final, or `again` all of them."""
        ledger = self.ledger
        return [row for row in self.valid if again or ledger is None or not ledger.is_final(row.number)]

    def make_plan(self, open_rows: Sequence[Row], dataset: Dataset | None, has_account: bool = True) -> Plan:
        ledger, request = self.ledger, self.request
        plan = make_plan(
            self.push_id,
            self.entity,
            request.op,
            self.rows,
            open_rows,
            guarded=request.unchanged_since is not None,
            has_account=has_account,
            not_loaded=0 if ledger is None else len(ledger.not_loaded(*WRITES)),
        )
        plan.changes = preview(self.entity, request.op, open_rows, dataset, self.match, self._masked)
        plan.seconds = self.settings.seconds_for(plan.calls)
        if ledger is not None and ledger.earlier and "create" in plan.actions:
            plan.earlier = dict(zip(("push_id", "done", "open"), ledger.earlier, strict=True))
        return plan

    def run(self, runner: Runner, confirm: Confirm) -> None:
        """Carries out the push, unless it is done already and was not requested again.

        Raises:
            BadSetting: the request is invalid, or its source cannot be read.
            Stop, InsightlyError: it ended early; the ledger has the rows so far.
        """
        request, started = self.request, time.monotonic()
        result = runner.context.result(request.entity)
        try:
            runner.target.require_sql("a push keeps its ledger in an SQL database")
            self.read(runner.dataset)
            numbers = range(1, len(self.input.rows) + 1)
            if self._is_finished(numbers) and not request.again:
                # They were valid. To check them again, the definitions of custom fields would be read again.
                self.rows = self.valid = with_lines(map(Row, numbers), self.input)
            else:
                self.validate(fetch_definitions(runner.context, self.entity, self.input), runner.dataset)
            finished = self._is_finished([row.number for row in self.valid])
            open_rows = self.open_rows(again=finished and request.again)
            self.plan = self.make_plan(open_rows, runner.dataset)
            if self.plan.invalid and not request.skip_invalid:
                raise _invalid_rows(self.plan)
            if finished and not request.again and self.ledger is not None:
                self.already_done_at = self.ledger.finished_at()
                result.reason = f"already done at {iso(self.already_done_at)}, nothing sent"
            else:
                self._execute(runner, open_rows, confirm, start_over=finished)
            problems, result.rows = self._failed_rows(), len(self.rows)
            if result.state in (None, "ok"):
                result.state = "failed" if problems else "ok"
            if problems:
                words = f"{len(problems)} of {len(self.rows)} rows have problems; {summary(problems)}"
                result.reason = words if result.reason is None else f"{result.reason}; {words}"
        finally:
            result.seconds = time.monotonic() - started

    def _execute(self, runner: Runner, open_rows: Sequence[Row], confirm: Confirm, start_over: bool) -> None:
        """Sends the open rows after the user has confirmed the plan, and reads the records again."""
        if open_rows and self.plan is not None and not confirm(self.plan):
            raise Unconfirmed("not confirmed: nothing was sent")
        ensure_table(runner.pipeline, PUSHES)
        request = self.request
        self.ledger = self.ledger or Ledger(runner.dataset, self.push_id, request.entity, request.op)
        if start_over:
            self.ledger.start_attempt()
        executor = TagExecutor if self.entity.name == "tags" else Executor
        executor(runner.context, self.entity, request.op, self.ledger, self.match, request.unchanged_since).run(
            self.valid
        )
        with history.maintained(runner):
            self.chosen += read_again(runner, self.ledger, self.entity, self.valid)

    def _is_finished(self, numbers: Sequence[int]) -> bool:
        return bool(numbers) and self.ledger is not None and self.ledger.is_finished(numbers)

    def add_results(self, report: Report) -> None:
        """Adds the plan and the results of the rows to a report."""
        if self.plan is None:
            return
        facts = asdict(self.plan)
        entries = list(self.ledger.entries.values()) if self.ledger is not None else []
        statuses = Counter(entry.status for entry in entries)
        actions = Counter(entry.action for entry in entries if entry.status == DONE)
        closed = sum(statuses[status] for status in (*FINAL, FAILED))
        facts["results"] = {word: actions[action] for word, action in RESULTS.items()} | {
            "failed": statuses[FAILED],
            "unknown": statuses[UNKNOWN],
            "open": len(self.valid) - closed,
        }
        facts["already_done_at"] = None if self.already_done_at is None else iso(self.already_done_at)
        facts["problems"] = [*facts["problems"], *self._failed_rows()]
        report.entities[self.request.entity].facts = {"push": facts}
        report.committed = f"{closed:,} of {len(self.valid):,} rows are pushed"

    def _failed_rows(self) -> list[dict[str, object]]:
        entries = self.ledger.entries.values() if self.ledger is not None else ()
        return [
            {**self.rows[entry.number - 1].where, "problem": f"{entry.status}: {entry.error}"}
            for entry in entries
            if entry.status in (FAILED, UNKNOWN) or (entry.status == PENDING and entry.error)
        ]


def _invalid_rows(plan: Plan) -> InvalidRows:
    return InvalidRows(
        f"{plan.invalid:,} of {plural(plan.rows, 'row')} {'is' if plan.invalid == 1 else 'are'} invalid; "
        f"{summary(plan.problems)}. Nothing was sent. "
        "Fix them, or pass --skip-invalid to push the valid rows"
    )
