"""One command over several accounts in turn; and two tasks that share a key."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from pipelines.destinations.target import Busy, Target
from pipelines.engine.report import DONE, FAILED, INTERRUPTED, STOPPED, Report, failed
from pipelines.views import all_accounts
from sources.insightly.config.accounts import ALL, DEFAULT, configured_accounts
from sources.insightly.config.settings import InsightlySettings, resolve_settings
from sources.insightly.errors import BadSetting

logger = logging.getLogger("insightly")

WORST_FIRST = (INTERRUPTED, 2, 1, 4, 3, 0)
"""Exit codes: what no later run mends by itself, a failure, a difference found, and what the next run goes on from."""


def chosen(asked: Sequence[str], alone: bool) -> list[str] | None:
    """The accounts that a command is for.

    Args:
        asked: accounts named; none for all of those that there are.
        alone: whether the command makes sense for one account only.

    Returns:
        Their names, `default` for the account of `[sources.insightly]`; None where that is the only one there can be.

    Raises:
        BadSetting: there is no such account, or it must be said which one.
    """
    known = configured_accounts()
    for name in asked:
        if name not in known and name != DEFAULT:
            fix = f"there is no such account; known are {', '.join([DEFAULT, *known])} (docs/guide/accounts.md)"
            raise BadSetting("--instance", name, fix)
    if not asked and not known:
        return None
    names = list(dict.fromkeys(asked)) or [*([DEFAULT] if resolve_settings().api_key else []), *known]
    if alone and len(names) > 1:
        raise BadSetting("--instance", ", ".join(asked), f"name one account for this: {', '.join(names)}")
    return names


def each(
    command: str, names: Sequence[str], work: Callable[[str], Report], told: Callable[[str, Report], None]
) -> Report:
    """Does a command for each account, whatever becomes of the others.

    Args:
        command: its name.
        names: the accounts.
        work: does it for one.
        told: told of each report as soon as there is one.

    Returns:
        A report with the totals; its entities are named `account.entity`, and its fact `instances` has each report.
    """
    begun, reports = time.monotonic(), dict[str, Report]()
    for name in names:
        try:
            report = work(name)
        except (KeyboardInterrupt, Exception) as error:
            report = failed(command, error)
            logger.error("%s: %s", name, report.reason)
        reports[name] = report
        told(name, report)
        if report.exit_code == INTERRUPTED:
            break
    whole = together(command, reports)
    whole.seconds = time.monotonic() - begun
    return whole


def together(command: str, reports: Mapping[str, Report]) -> Report:
    """Several accounts' reports of one command as one.

    `calls_left_today` is the least of them: the allowances are apart, and the least is the one to be warned of.
    """
    whole = Report(command, facts={"instances": {name: report.to_dict() for name, report in reports.items()}})
    whole.exit_code = min((report.exit_code for report in reports.values()), key=WORST_FIRST.index)
    whole.status = {0: DONE, 3: STOPPED}.get(whole.exit_code, FAILED)
    whole.reason = "; ".join(f"{name}: {each.reason}" for name, each in reports.items() if each.exit_code) or None
    whole.entities = {
        f"{name}.{entity}": part for name, each in reports.items() for entity, part in each.entities.items()
    }
    whole.calls = sum(report.calls for report in reports.values())
    left = [report.calls_left_today for report in reports.values() if report.calls_left_today is not None]
    whole.calls_left_today = min(left, default=None)
    if plans := [report.facts["plan"] for report in reports.values() if "plan" in report.facts]:
        whole.facts["plan"] = {figure: sum(plan[figure] for plan in plans) for figure in plans[0]}
    return whole


def unite(report: Report, target: Target) -> None:
    """Refreshes the views over all accounts, and adds to a sync's report what they are.

    Args:
        report: of the sync; it fails where the views do.
        target: the dataset that those of the accounts are named after.
    """
    dataset, code = target.for_account(ALL).dataset, 1
    try:
        views = all_accounts.refresh(target)
    except Busy as busy:
        views = all_accounts.Views(note=f"{busy}; the next sync makes the views")
    except Exception as error:  # what was synced is told, whatever becomes of the views
        views, code = all_accounts.Views(failed={"*": str(error)}), getattr(error, "exit_code", 1)
    if views.failed:
        report.exit_code = min(report.exit_code, code, key=WORST_FIRST.index)
        reasons = [f"{dataset}.{view}: {why}" for view, why in views.failed.items()]
        report.status, report.reason = FAILED, "; ".join(filter(None, [report.reason, *reasons]))
    report.facts["all_accounts"] = {"dataset": dataset, **views.to_dict()}


def take_part(settings: InsightlySettings, parts: int, index: int, *, at_once: bool) -> None:
    """Lowers the budget of a run, and its rate, to an equal part; all parts together are what there was.

    Args:
        settings: of the run; `max_calls` and `requests_per_second` are changed.
        parts: how many share the key, at least 1.
        index: which of them this is, from 0.
        at_once: whether they run at the same time; one after the other, each may have the whole rate.
    """
    if at_once:
        settings.requests_per_second /= parts
    if settings.max_calls is not None:
        each, over = divmod(settings.max_calls, parts)
        settings.max_calls = each + (index < over)
