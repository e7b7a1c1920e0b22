"""The shape of the code: imports point one way, sources know no pipelines, files stay small and portable."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

PACKAGE = ROOT / "sources" / "insightly"

# From the bottom up; a module imports only from lines above its own, or from its own line's left.
LAYERS = (
    ("errors",),
    ("address", "entities", "jsonbody", "pacer", "cursor", "walk", "probe"),
    ("budget", "calls", "columns", "column_names", "custom_fields", "lookahead", "match", "privacy", "values"),
    ("instances",),
    ("records", "settings"),
    ("client",),
    ("session",),
    ("reads", "writes"),
    ("tables", "references", "details", "changes", "refresh"),
    ("resources",),
    ("source",),
    ("__init__",),
)
ORDER = [name for layer in LAYERS for name in layer]
PURE = {
    "errors",
    "entities",
    "jsonbody",
    "cursor",
    "walk",
    "address",
    "budget",
    "calls",
    "columns",
    "column_names",
    "custom_fields",
    "lookahead",
    "match",
    "privacy",
    "probe",
    "records",
}
WITH_CLOCK = {"pacer"}
MAY_IMPORT_DLT = {
    "instances",
    "settings",
    "session",
    "tables",
    "references",
    "details",
    "changes",
    "refresh",
    "resources",
    "source",
}
LONG_FOR_THEIR_DATA = {"sources/insightly/entities.py"}
MOST_LINES = 250


@cache
def tracked() -> tuple[Path, ...]:
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(path for line in told.stdout.splitlines() if (path := ROOT / line).is_file())


def modules(folder: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / folder)]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, top_only: bool = False) -> set[str]:
    """Names of imported modules; relative ones keep their dots."""
    nodes = tree(path).body if top_only else list(ast.walk(tree(path)))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path) if not name.startswith(".")}


def source_modules() -> dict[str, Path]:
    return {path.stem: path for path in modules("sources/insightly") if path.parent == PACKAGE}


def test_the_layers_name_every_module() -> None:
    assert sorted(ORDER) == sorted(source_modules())


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_one_way(name: str) -> None:
    below = ORDER[: ORDER.index(name)]
    used = {module.removeprefix(".") for module in imports(source_modules()[name]) if module.startswith(".")}
    assert used <= set(below)


@pytest.mark.parametrize("name", sorted(PURE | WITH_CLOCK))
def test_logic_knows_no_framework_network_or_clock(name: str) -> None:
    path = source_modules()[name]
    assert not roots(path) & {"dlt", "requests", "urllib3", "socket", "http", "duckdb"}
    if name not in WITH_CLOCK:
        assert "time" not in roots(path)
        assert not re.search(r"\b(datetime|date)\.(now|utcnow|today)\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ORDER)
def test_dlt_is_imported_where_it_is_needed(name: str) -> None:
    assert name in MAY_IMPORT_DLT or "dlt" not in roots(source_modules()[name])


def test_requests_is_imported_by_the_client_alone() -> None:
    users = {path.stem for path in modules("sources") if roots(path) & {"requests", "urllib3"}}
    assert users == {"client"}


@pytest.mark.parametrize("path", modules("sources/insightly/sandbox"), ids=lambda path: path.stem)
def test_the_sandbox_shares_facts_and_no_behaviour(path: Path) -> None:
    assert {name for name in imports(path) if name.startswith("..")} <= {"..entities"}
    assert not roots(path) & {"dlt", "requests", "pyarrow", "duckdb", "sources", "pipelines"}


@pytest.mark.parametrize("path", modules("sources"), ids=lambda path: str(path.relative_to(ROOT)))
def test_sources_know_no_pipelines(path: Path) -> None:
    assert not roots(path) & {"pipelines", "sources"}


def test_the_command_imports_nothing_heavy_before_it_must() -> None:
    heavy = "{'dlt', 'duckdb', 'pyarrow', 'requests', 'orjson', 'rich'}"
    code = f"import sys, pipelines.cli; pipelines.cli.parser(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", [*modules("sources"), *modules("pipelines")], ids=lambda path: path.stem)
def test_modules_are_short_and_do_not_print(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES or path.relative_to(ROOT).as_posix() in LONG_FOR_THEIR_DATA
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


def test_namespace_packages_stay_namespaces() -> None:
    assert not (ROOT / "sources/__init__.py").exists()
    assert not (ROOT / "pipelines/__init__.py").exists()


def test_no_file_names_a_registry_or_somebodys_folder() -> None:
    registry, folder = (
        r"https?://[\w.-]*(?:py" + r"pi|python" + r"hosted)",
        r"(?<![\w.{}~])/(?:(?:home|root|work)/\w|Users/[a-z])",
    )
    bad = re.compile(f"{registry}|{folder}")
    for path in tracked():
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        assert not (found := bad.search(text)), f"{path.relative_to(ROOT)}: {found and found[0]}"


def test_requirements_of_the_source_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted = {each.name: each.specifier for each in map(Requirement, project)}
    listed = [Requirement(line) for line in (PACKAGE / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    assert {each.name: each.specifier for each in listed} == {each.name: wanted[each.name] for each in listed}
    third_party = set().union(*(roots(path) for path in modules("sources/insightly"))) - set(sys.stdlib_module_names)
    names = {each.name for each in listed} | {"urllib3"}  # urllib3 comes with requests
    assert {packages_distributions()[module][0].lower() for module in third_party} <= names
