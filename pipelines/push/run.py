"""The push: rows are checked, the plan is told, then they are carried out, and what was written is read again."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from pipelines.destinations.system_tables import PUSHES, ensure_table, table_exists
from pipelines.destinations.target import Target
from pipelines.engine import history
from pipelines.engine.report import EntityReport, Report
from pipelines.engine.runner import Runner, Watch, opened
from sources.insightly.config.settings import InsightlySettings
from sources.insightly.entities import Entity
from sources.insightly.errors import BadSetting, InsightlyError

from .execute import Hand
from .execute_tags import TagHand
from .input import Given, push_id, read
from .ledger import DONE, FAILED, FINAL, PENDING, UNKNOWN, Ledger
from .plan import SHOWN, Plan, plan
from .reload import read_again
from .request import Request, checked, definitions_asked, definitions_held, entity_of
from .validate import Row

Confirm = Callable[[Plan], bool]


class Invalid(InsightlyError):
    """Rows that cannot be sent; nothing was."""


class Unconfirmed(InsightlyError):
    """The question whether to go on was answered with no."""


def dry_run(settings: InsightlySettings, target: Target, request: Request) -> Report:
    """Checks the rows and tells what a push would do; nothing is sent and nothing is written.

    Returns:
        A report with the plan; its exit code is 1 where a row is invalid and `skip_invalid` is not set.

    Raises:
        BadSetting: the request or its source makes no sense.
    """
    entity = entity_of(request)
    with ExitStack() as stack:
        dataset, ledger = None, None
        if target.exists():
            stack.enter_context(target.lock())
            pipeline = target.pipeline()
            dataset = stack.enter_context(target.open_dataset(pipeline))
            given = read(request.source, dataset)
            if table_exists(pipeline, PUSHES):
                ledger = Ledger(dataset, _id(request, given), request.entity, request.op)
        else:
            given = read(request.source, None)
        rows, _ = checked(request, entity, given, definitions_held(dataset, entity), dataset)
    bound = dataset is not None and dataset.has_account
    open_ = [row for row in rows if not row.problems and (ledger is None or request.again or not _settled(ledger, row))]
    told = _plan(settings, request, entity, given, rows, open_, ledger, bound)
    report = Report(
        "push", entities={request.entity: EntityReport("ok", rows=len(rows), facts={"push": told.to_dict()})}
    )
    report.facts = {"dry_run": True}
    if told.invalid and not request.skip_invalid:
        report.entities[request.entity].state = "failed"
        report.entities[request.entity].reason = str(_invalid(told))
    report.conclude(None, [], set())
    return report


def push(
    settings: InsightlySettings,
    target: Target,
    request: Request,
    confirm: Confirm = lambda _: True,
    watch: Watch | None = None,
) -> Report:
    """Carries out the rows of a file, table or query at Insightly, each of them once.

    Args:
        settings: validated settings with a key; `max_calls` bounds this run.
        target: the destination, which holds the ledger and the tables.
        request: what is asked for.
        confirm: told the plan before anything is written; False ends the push.
        watch: called with the context whenever there is progress.

    Raises:
        ConfigurationError, Busy: nothing was written; among them a push that is finished already.
    """
    entity = entity_of(request)
    with opened("push", settings, target, None, watch) as runner:
        work = _Push(runner, request, entity, confirm)
        error = runner.attempt(work.run)
        if error is not None:
            runner.discard_uncommitted(work.chosen)
        return runner.report(work.chosen, [request.entity], error, work.conclude)


class _Push:
    """One push at work."""

    def __init__(self, runner: Runner, request: Request, entity: Entity, confirm: Confirm) -> None:
        self.runner, self.request, self.entity, self.confirm = runner, request, entity, confirm
        self.chosen = [request.entity]
        self.rows: list[Row] = []
        self.plan: Plan | None = None
        self.ledger: Ledger | None = None

    def run(self) -> None:
        begun = time.monotonic()
        try:
            self._run()
        finally:
            self.runner.context.result(self.request.entity).seconds = time.monotonic() - begun

    def _run(self) -> None:
        request, runner = self.request, self.runner
        runner.target.require_sql("a push keeps its ledger in an SQL database")
        given = read(request.source, runner.dataset)
        definitions = definitions_asked(runner.context, self.entity, given)
        self.rows, match = checked(request, self.entity, given, definitions, runner.dataset)
        valid = [row for row in self.rows if not row.problems]
        prepared = table_exists(runner.pipeline, PUSHES)
        ledger = Ledger(runner.dataset, _id(request, given), request.entity, request.op) if prepared else None
        open_ = valid if ledger is None else self._open(ledger, valid)
        told = self.plan = _plan(runner.context.settings, request, self.entity, given, self.rows, open_, ledger)
        if told.invalid and not request.skip_invalid:
            raise _invalid(told)
        if open_ and not self.confirm(told):
            raise Unconfirmed("not confirmed: nothing was sent")
        ensure_table(runner.pipeline, PUSHES)
        self.ledger = ledger or Ledger(runner.dataset, told.push_id, request.entity, request.op)
        if request.again and self.ledger.finished(row.number for row in valid):
            self.ledger.begin_again()
        hand = TagHand if self.entity.name == "tags" else Hand
        hand(runner.context, self.entity, request.op, self.ledger, match, request.unchanged_since).run(valid)
        with history.maintained(runner):
            self.chosen += read_again(runner, self.ledger, self.entity, valid)
        self._judge()

    def _open(self, ledger: Ledger, valid: Sequence[Row]) -> list[Row]:
        """The rows still to be carried out.

        Raises:
            BadSetting: there is none, and the push is not to be done again.
        """
        if not valid or not ledger.finished(row.number for row in valid):
            return [row for row in valid if not _settled(ledger, row)]
        if self.request.again:
            return list(valid)
        unknown = [entry.number for entry in ledger.entries.values() if entry.status == UNKNOWN]
        doubt = f", of row {', '.join(map(str, unknown[:SHOWN]))} nobody can tell" if unknown else ""
        raise BadSetting(
            "what to push",
            self.request.source,
            f"the same rows were pushed with --op {self.request.op} before{doubt}; add --again to push them once more",
        )

    def _judge(self) -> None:
        result, problems = self.runner.context.result(self.request.entity), self._told_of_rows()
        result.rows = len(self.rows)
        if result.state in (None, "ok"):
            result.state = "failed" if problems else "ok"
        if problems and result.reason is None:
            first = problems[0]
            result.reason = f"{len(problems)} of {len(self.rows)} rows, as row {first['row']}: {first['problem']}"

    def _told_of_rows(self) -> list[dict[str, object]]:
        entries = self.ledger.entries.values() if self.ledger is not None else ()
        return [
            {"row": entry.number, "problem": f"{entry.status}: {entry.error}"}
            for entry in entries
            if entry.status in (FAILED, UNKNOWN) or (entry.status == PENDING and entry.error)
        ]

    def conclude(self, report: Report) -> None:
        """Adds the plan, and what became of the rows."""
        if self.plan is None:
            return
        facts = self.plan.to_dict()
        entries = list(self.ledger.entries.values()) if self.ledger is not None else []
        results = {"created": "create", "updated": "update", "deleted": "delete", "unchanged": "none"}
        done = [entry.action for entry in entries if entry.status == DONE]
        facts["results"] = {word: done.count(action) for word, action in results.items()} | {
            "failed": sum(entry.status == FAILED for entry in entries),
            "unknown": sum(entry.status == UNKNOWN for entry in entries),
            "open": sum(not row.problems for row in self.rows) - sum(e.status in (*FINAL, FAILED) for e in entries),
        }
        facts["problems"] = [*facts["problems"], *self._told_of_rows()]
        report.entities[self.request.entity].facts = {"push": facts}


def _plan(
    settings: InsightlySettings,
    request: Request,
    entity: Entity,
    given: Given,
    rows: list[Row],
    open_: list[Row],
    ledger: Ledger | None,
    bound: bool = True,
) -> Plan:
    unread = 0 if ledger is None else len(ledger.to_load("create", "update", "delete"))
    guarded = request.unchanged_since is not None
    rate = settings.requests_per_second
    told = plan(_id(request, given), entity, request.op, rows, open_, rate, guarded=guarded, bound=bound, unread=unread)
    if ledger is not None and ledger.earlier and "create" in told.actions:
        told.earlier = dict(zip(("push_id", "done", "open"), ledger.earlier, strict=True))
    return told


def _id(request: Request, given: Given) -> str:
    return push_id(request.op, request.entity, request.match, given.digest)


def _settled(ledger: Ledger, row: Row) -> bool:
    entry = ledger.entries.get(row.number)
    return entry is not None and entry.status in FINAL


def _invalid(told: Plan) -> Invalid:
    first = told.problems[0]
    return Invalid(
        f"{told.invalid} of {told.rows} rows are invalid, as row {first['row']}: {first['problem']}; nothing was sent. "
        "Mend them, or add --skip-invalid to push the others"
    )
