"""The documentation: pages that follow from the code, links that lead somewhere, and commands that do what they say."""

import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from pipelines.cli.parser import parser
from pipelines.sandbox import Sandbox
from tests.support.crm import OPEN, contents_of
from tests.support.process import ROOT, command, reach

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "sources/insightly/README.md"])
WALKTHROUGH = ROOT / "docs/guide/walkthrough.md"
PAGES_OF_DOCS = [page.relative_to(ROOT).as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
NEEDS_A_SERVER = (
    "--destination snowflake",
    "--destination bigquery",
    "--destination filesystem",
    "--destination postgres",
)
"""Needs a warehouse. Postgres and Delta tables have tests of their own, and so do the statements for warehouses."""
NEEDS_YES = "--op delete"


def commands(page: Path) -> list[str]:
    """The commands of a page, without the synopsis, in which words stand for others."""
    blocks = [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind in ("", "sh", "bash")]
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    found = [re.sub(r"^\.venv/bin/", "", line) for line in lines]
    return [
        line
        for line in found
        if line.startswith(("insightly ", "make ")) and not re.search(r"\[ENTITY|ENTITY FILE", line)
    ]


def synopsis() -> str:
    return (ROOT / "docs/guide/commands.md").read_text(encoding="utf-8")


RUNNABLE = {page: [line for line in commands(page) if line.startswith("insightly ")] for page in PAGES}


def program(name: str) -> ModuleType:
    """A program that `make docs` runs."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / f"docs/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_tables_follows_from_the_facts() -> None:
    tables = program("tables")
    assert tables.PAGE.read_text(encoding="utf-8") == tables.page(), "make docs writes it again"


def test_the_pictures_follow_from_the_imports() -> None:
    for path, text in program("pictures").pictures():
        assert path.read_text(encoding="utf-8") == text, "make docs draws it again"


def headings(page: Path) -> set[str]:
    """The names by which a link can lead to a heading, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert "://" in link or target.exists(), link
        assert "://" in link or not heading or heading in headings(target), link


def test_the_tests_that_are_named_are_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"[\w/]*\btest_\w+\.py", page.read_text(encoding="utf-8"))}
    assert sorted(name for name in named if not (ROOT / "tests" / name.removeprefix("tests/")).exists()) == []


def test_cited_facts_of_the_api_are_there() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?)", page, re.MULTILINE))
    files = [*ROOT.glob("pipelines/**/*.py"), *ROOT.glob("sources/**/*.py")]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    cited = re.findall(r"api\.md,?(?: sections?)? (\d+(?:\.\d+)?)", code)
    assert len(cited) > 20
    assert {*cited} <= sections


def test_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page for page in PAGES_OF_DOCS if f"]({page})" not in readme] == []
    assert len(readme.splitlines()) < 80


def test_every_command_and_option_is_in_the_page_of_commands() -> None:
    (choices,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))
    text = synopsis()
    assert [name for name in choices if f"insightly {name}" not in text] == []
    parsers = [parser(), *choices.values()]
    options = {option for each in parsers for option in re.findall(r"(?<!\w)--[a-z-]+", each.format_help())}
    elsewhere = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert sorted(option for option in options - {"--help"} if option not in elsewhere) == []
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - options) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_parsed(page: Path) -> None:
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands(page):
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in targets, line
        else:
            parser().parse_args(shlex.split(line.partition(" || ")[0])[1:])


@pytest.fixture(scope="module")
def synced_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which an account was synced once."""
    folder = tmp_path_factory.mktemp("project")
    with Sandbox(contents=contents_of(0.02), switches=OPEN) as sandbox:
        first = command("sync", "core", "--json", cwd=folder, **reach(sandbox))
        assert first.code == 0, first.err
    return folder


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The same account, for one page: its pushes are not there for the next."""
    with Sandbox(contents=contents_of(0.02), switches=OPEN) as sandbox:
        yield sandbox


@pytest.mark.sample(0)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if RUNNABLE[page] and page != WALKTHROUGH], ids=lambda page: page.name
)
def test_commands_do_what_they_say(sandbox: Sandbox, synced_project: Path, page: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(synced_project, tmp_path / "project"))
    _prepare(project, sandbox)
    instances = {
        f"SOURCES__INSIGHTLY__INSTANCES__{name}__{setting}": value
        for name in ("EMEA", "APAC")
        for setting, value in (("API_KEY", sandbox.key), ("BASE_URL", sandbox.url))
    }
    environment = {**reach(sandbox), **(instances if page.name == "accounts.md" else {})}
    for line in RUNNABLE[page]:
        if any(words in line for words in NEEDS_A_SERVER) and "--print" not in line:
            continue
        words = shlex.split(line.partition(" || ")[0])[1:]
        if words == ["dashboard"] or words[0] == "sandbox":
            continue  # it serves until it is interrupted; tests of their own load the page and run the sandbox
        ran = command(*words, cwd=project, **environment)
        if NEEDS_YES in line:
            assert ran.code != 0, f"{line}: {ran.out}{ran.err}"
            ran = command(*words, "--yes", cwd=project, **environment)
        assert ran.code == 0, f"{line}: exit {ran.code}\n{ran.out}{ran.err}"


def _prepare(project: Path, sandbox: Sandbox) -> None:
    """What the examples name."""
    (project / "new.csv").write_text("first_name,email_address\nAda,ada@example.com\n")
    task = sandbox.store.tables["tasks"].keys[0]
    (project / "done.jsonl").write_text(f'{{"TASK_ID": {task}, "PERCENT_COMPLETE": 100}}\n')
    (project / "our_marts").mkdir()
    (project / "our_marts/contacts_by_owner.sql").write_text(
        "-- How many contacts has each owner?\nselect owner_user_id, count(*) as n from current_contacts group by 1\n"
    )
    with duckdb.connect(str(project / "crm.duckdb")) as database:
        database.sql("create table insightly.stale_leads as select max(lead_id) as lead_id from insightly.leads")


@pytest.mark.sample(0)
def test_the_walkthrough_shows_the_output_of_the_program(tmp_path: Path) -> None:
    blocks = FENCE.findall(WALKTHROUGH.read_text(encoding="utf-8"))
    with Sandbox(contents=contents_of(1.0), switches=OPEN) as sandbox:
        account = {**reach(sandbox), "SOURCES__INSIGHTLY__ENTITIES": "all"}
        runs = [command("check", cwd=tmp_path, **{**account, "SOURCES__INSIGHTLY__API_KEY": "wrong"})]
        runs += [command(*shlex.split(line)[1:], cwd=tmp_path, **account) for line in RUNNABLE[WALKTHROUGH]]
    assert [ran.code for ran in runs] == [1] + [0] * len(RUNNABLE[WALKTHROUGH])
    queries = [text for kind, text in blocks if kind == "sql"]
    queries += [query for _, text in blocks for query in re.findall(r'sql\("""(.*?)"""\)', text, re.DOTALL)]
    with duckdb.connect(str(tmp_path / "crm.duckdb"), read_only=True) as crm:
        answers = [str(crm.sql(query)) for query in queries]
    assert len(answers) == 2
    printed = {
        without_numbers(line)
        for text in (*(f"{ran.out}\n{ran.err}" for ran in runs), *answers)
        for line in text.splitlines()
    }
    shown = [line for kind, text in blocks if kind == "text" for line in text.splitlines() if line.strip() != "…"]
    assert [line for line in shown if without_numbers(line) not in printed] == []


def without_numbers(line: str) -> str:
    """A line of output without what differs from run to run: addresses, numbers, times, and the width of columns."""
    return " ".join(re.sub(r"\d[\d.,:TZ-]*", "0", re.sub(r"https?://\S+", "address", line)).split())
