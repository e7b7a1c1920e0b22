"""Runs one command for several accounts, and divides the limits of accounts that share a key."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pipelines.engine import interrupts
from pipelines.engine.report import DONE, FAILED, INTERRUPTED, STOPPED, WORST_FIRST, Report, error_report
from sources.insightly.config.accounts import DEFAULT, configured_accounts
from sources.insightly.config.settings import InsightlySettings, resolve_settings
from sources.insightly.errors import BadSetting, closest

logger = logging.getLogger("insightly")


def select_accounts(requested: Sequence[str], single: bool) -> list[str] | None:
    """The accounts to run a command for.

    Args:
        requested: names of accounts; none for all that are configured.
        single: True if the command runs for one account only.

    Returns:
        Names, `default` for the account of `[sources.insightly]`; None if there can only be that one.

    Raises:
        BadSetting: there is no such account, or you have to name one.
    """
    configured = configured_accounts()
    for name in requested:
        if name not in configured and name != DEFAULT:
            known = (DEFAULT, *configured)
            similar = closest(name, known)
            hint = f"did you mean {similar}?" if similar else f"known are {', '.join(known)} (docs/guide/accounts.md)"
            raise BadSetting("--instance", name, f"there is no such account; {hint}")
    if not requested and not configured:
        return None
    names = list(dict.fromkeys(requested)) or [*([DEFAULT] if resolve_settings().api_key else []), *configured]
    if single and len(names) > 1:
        raise BadSetting("--instance", ", ".join(requested), f"name one account for this: {', '.join(names)}")
    return names


def run_for_each(
    command: str,
    names: Sequence[str],
    run: Callable[[str], Report],
    on_report: Callable[[str, Report], None],
    jobs: int = 1,
) -> Report:
    """Runs a command for each account; a failure of one does not stop the others.

    Args:
        command: its name.
        names: the accounts.
        run: runs the command for one account. With several `jobs` it is pickled.
        on_report: called with each account's report as soon as there is one, unless a signal ended the account.
        jobs: how many accounts run at the same time, each in a process of its own; 1 runs one after the other.

    Returns:
        A report with the totals; its entities are named `account.entity`, and its fact `instances` has each report.
        A signal that ends the run of one account ends them all.
    """
    started, reports = time.monotonic(), dict[str, Report]()

    def add(name: str, report: Report) -> None:
        reports[name] = report
        if report.exit_code in INTERRUPTED:
            return
        if report.status == FAILED and not report.entities:
            logger.error("%s: %s", name, report.reason)
        on_report(name, report)

    work = partial(_attempt, command, run)
    if jobs > 1:
        from .account_processes import run_at_once

        run_at_once(command, names, jobs, work, add)
    else:
        for name in names:
            add(name, work(name))
            if reports[name].exit_code in INTERRUPTED:
                break
    total = combine(command, {name: reports[name] for name in names if name in reports})
    total.seconds = time.monotonic() - started
    return total


def _attempt(command: str, run: Callable[[str], Report], name: str) -> Report:
    """The report of one account, of an error or a signal too."""
    try:
        with interrupts.unwrapped():
            report = run(name)
            interrupts.check(report)
            return report
    except (KeyboardInterrupt, Exception) as error:
        return error_report(command, error)


def combine(command: str, reports: Mapping[str, Report]) -> Report:
    """One report of several accounts' reports of a command.

    `calls_left_today` is the lowest of them, because each account has its own allowance.
    """
    total = Report(command, facts={"instances": {name: report.to_dict() for name, report in reports.items()}})
    total.exit_code = min((report.exit_code for report in reports.values()), key=WORST_FIRST.index)
    total.status = {0: DONE, 3: STOPPED}.get(total.exit_code, FAILED)
    total.reason = "; ".join(f"{name}: {report.reason}" for name, report in reports.items() if report.exit_code) or None
    total.entities = {
        f"{name}.{entity}": part for name, report in reports.items() for entity, part in report.entities.items()
    }
    total.calls = sum(report.calls for report in reports.values())
    total.retries = dict(sum((Counter(report.retries) for report in reports.values()), Counter[str]()))
    total.slowed_to = min((report.slowed_to for report in reports.values() if report.slowed_to), default=None)
    left = [report.calls_left_today for report in reports.values() if report.calls_left_today is not None]
    total.calls_left_today = min(left, default=None)
    if plans := [report.facts["plan"] for report in reports.values() if "plan" in report.facts]:
        total.facts["plan"] = {figure: sum(plan[figure] for plan in plans) for figure in plans[0]}
    return total


def share_limits(settings: InsightlySettings, parts: int, index: int, *, concurrent: bool) -> None:
    """Lowers the limits of a run to one part of them, for runs that share a key; all parts add up to the limits.

    Args:
        settings: of the run; `max_calls` and `requests_per_second` are changed.
        parts: the number of runs, at least 1.
        index: the number of this run, from 0.
        concurrent: True if they run at the same time; one after the other, each may have the full rate.
    """
    if concurrent:
        settings.requests_per_second /= parts
    if settings.max_calls is not None:
        share, remainder = divmod(settings.max_calls, parts)
        settings.max_calls = share + (index < remainder)
