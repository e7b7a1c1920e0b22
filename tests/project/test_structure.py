"""The shape of the code: imports point one way, the source knows no pipelines, pure logic knows no network or clock."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.process import ROOT

SOURCE = "sources.insightly"

# From the bottom up: a folder or module of the source imports only what stands in a line above its own.
SOURCE_LAYERS = (
    {"errors"},
    {"fields"},
    {"entities"},
    {"selection"},
    {"state"},
    {"paging"},
    {"rows"},
    {"result", "config"},
    {"api"},
    {"chunk", "catalog"},
    {"context"},
    {"resources"},
    {"source"},
    {"__init__"},
)
# What each folder of pipelines, and the DAGs, may import of the other folders.
PIPELINE_IMPORTS = {
    "destinations": set[str](),
    "engine": {"destinations"},
    "views": {"engine", "destinations"},
    "push": {"engine", "destinations"},
    "commands": {"engine", "destinations"},
    "dashboard": {"views", "engine", "destinations"},
    "sandbox": set[str](),
    "cli": {"commands", "push", "views", "dashboard", "sandbox", "engine", "destinations"},
    "dags": {"commands", "views", "engine", "destinations"},
}
# The parts of the source that pipelines may import; the others are internal.
PUBLIC = (
    f"{SOURCE}.entities",
    f"{SOURCE}.fields",
    f"{SOURCE}.selection",
    f"{SOURCE}.errors",
    f"{SOURCE}.config",
    f"{SOURCE}.catalog",
    f"{SOURCE}.context",
    f"{SOURCE}.state",
    f"{SOURCE}.result",
    f"{SOURCE}.resources",
    f"{SOURCE}.api.messages",  # the types of `context.client.send`
    f"{SOURCE}.api.json_body",  # parses JSON without rounding a number, also for the rows of a push
    f"{SOURCE}.rows.json_text",  # numerals, and texts with broken characters, in the rows of a push
    f"{SOURCE}.rows.naming",
    f"{SOURCE}.rows.descriptions",
    f"{SOURCE}.rows.shaper",  # verify and the reload of a push shape records as a sync does
    f"{SOURCE}.rows.arrow",  # the numbers that a column can have
    f"{SOURCE}.rows.custom_fields",  # the types of custom fields, by which a push checks its rows
    f"{SOURCE}.paging.probe",
)
PURE = ("errors", "fields", "entities", "selection", "paging", "rows", "state")
KNOWS_DLT = ("config.providers", "config.settings", "config.accounts", "context", "resources", "source")


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file())


def python_files(*folders: str) -> list[Path]:
    inside = [ROOT / folder for folder in folders]
    return [path for path in tracked() if path.suffix == ".py" and any(map(path.is_relative_to, inside))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in python_files("sources", "pipelines", "dags")}


@cache
def imports(path: Path) -> frozenset[str]:
    """The modules that a file imports anywhere in it, by their full names."""
    names: set[str] = set()
    package = module_of(path).split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            parts = {f"{module}.{alias.name}" for alias in node.names} & MODULES.keys()
            names.update(parts or {module})
    return frozenset(names)


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def is_part(module: str, *parents: str) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def in_source(module: str) -> bool:
    return is_part(module, SOURCE)


def part_of_source(module: str) -> str:
    """The folder of the source that a module is in, or its own name at the top."""
    return module.removeprefix(SOURCE).removeprefix(".").partition(".")[0] or "__init__"


def part_of_pipelines(module: str) -> str:
    return "dags" if module.startswith("dags") else (module.split(".")[1:2] or [""])[0]


def source_parts() -> set[str]:
    return {part_of_source(module) for module in MODULES if in_source(module)}


def broken_rules(path: Path) -> Iterator[str]:
    """The imports of a file that point the wrong way."""
    module = module_of(path)
    if in_source(module):
        own = part_of_source(module)
        below = set().union(*SOURCE_LAYERS[: [own in layer for layer in SOURCE_LAYERS].index(True)], {own})
        for name in filter(in_source, imports(path)):
            if part_of_source(name) not in below:
                yield name
        return
    own = part_of_pipelines(module)
    for name in imports(path):
        if is_part(name, SOURCE):
            public = (f"{SOURCE}.entities", f"{SOURCE}.fields") if own == "sandbox" else PUBLIC
            if not is_part(name, *public) and (name != SOURCE or own == "sandbox"):
                yield name
        elif is_part(name, "pipelines") and part_of_pipelines(name) not in PIPELINE_IMPORTS.get(own, set()) | {own}:
            yield name


def test_every_module_of_the_source_has_a_layer() -> None:
    assert source_parts() == set().union(*SOURCE_LAYERS)


def test_every_module_of_pipelines_is_in_a_folder() -> None:
    parts = {part_of_pipelines(module) for module in MODULES if module.startswith("pipelines")}
    assert parts == PIPELINE_IMPORTS.keys() - {"dags"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module: str) -> None:
    assert set(broken_rules(MODULES[module])) == set()


def test_there_are_no_import_cycles() -> None:
    graph = {module: {name for name in imports(path) if name in MODULES} for module, path in MODULES.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules


@pytest.mark.parametrize("module", [m for m in sorted(MODULES) if is_part(m, *(f"{SOURCE}.{part}" for part in PURE))])
def test_pure_logic_knows_no_framework_network_or_clock(module: str) -> None:
    path = MODULES[module]
    assert not roots(path) & {"dlt", "requests", "urllib3", "socket", "http", "duckdb", "time"}
    assert not re.search(r"\b(datetime|date)\.(now|utcnow|today)\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", [module for module in sorted(MODULES) if in_source(module)])
def test_dlt_is_imported_where_it_is_needed(module: str) -> None:
    assert is_part(module, *(f"{SOURCE}.{part}" for part in KNOWS_DLT)) or "dlt" not in roots(MODULES[module])


def test_requests_is_imported_by_the_client_and_its_bounds_alone() -> None:
    users = {module for module, path in MODULES.items() if roots(path) & {"requests", "urllib3"}}
    assert users == {f"{SOURCE}.api.client", f"{SOURCE}.api.bounds"}


@pytest.mark.parametrize("path", python_files("pipelines/sandbox"), ids=module_of)
def test_the_sandbox_shares_facts_and_no_behaviour(path: Path) -> None:
    assert path.name == "demo.py" or not roots(path) & {"dlt", "requests", "pyarrow", "duckdb"}


@pytest.mark.parametrize("path", python_files("sources/insightly"), ids=module_of)
def test_the_source_can_be_copied_alone(path: Path) -> None:
    nodes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and not node.level]
    assert not {node.module for node in nodes if is_part(str(node.module), "sources", "pipelines")}


def test_the_command_imports_nothing_heavy_before_it_must() -> None:
    heavy = "{'dlt', 'duckdb', 'pyarrow', 'requests', 'orjson', 'rich'}"
    code = f"import sys; from pipelines.cli.parser import parser; parser(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_do_not_print(module: str) -> None:
    calls = [node.func for node in ast.walk(tree(MODULES[module])) if isinstance(node, ast.Call)]
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
    listed = [
        Requirement(line)
        for line in (ROOT / "sources/insightly/requirements.txt").read_text(encoding="utf-8").splitlines()
    ]
    assert {each.name: each.specifier for each in listed} == {each.name: wanted[each.name] for each in listed}
    imported = set().union(*(roots(path) for path in python_files("sources/insightly")))
    third_party = imported - set(sys.stdlib_module_names) - {"sources"}
    names = {each.name for each in listed}
    assert {packages_distributions()[module][0].lower() for module in third_party} <= names
