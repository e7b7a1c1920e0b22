"""`dlt init insightly duckdb --location .` copies a source that works without the project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dlt.common.schema import Schema

from sources.insightly.rows.descriptions import description_of
from tests.support.crm import Crm, read
from tests.support.process import ROOT, reach


def run(*command: str, cwd: Path, **environment: str) -> str:
    unset = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env = {**unset, "RUNTIME__DLTHUB_TELEMETRY": "false", "GIT_CONFIG_GLOBAL": os.devnull, **environment}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def repository(folder: Path) -> Path:
    """A new repository of the sources: dlt reads the commit of each file from git."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(ROOT / "sources", folder / "sources", ignore=ignored)
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run("git", "init", "-q", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", *author, "commit", "-q", "-m", "sources", cwd=folder)
    return folder


def test_copied_source_loads_without_the_project(crm: Crm, tmp_path: Path) -> None:
    clone, project = repository(tmp_path / "clone"), tmp_path / "project"
    project.mkdir()
    dlt = str(Path(sys.executable).with_name("dlt"))
    home = {"DLT_DATA_DIR": str(tmp_path / "home")}
    run(dlt, "--non-interactive", "init", "insightly", "duckdb", "--location", str(clone), cwd=project, **home)
    copied = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert {"insightly_pipeline.py", "insightly/source.py", "insightly/fields.toml", "requirements.txt"} <= copied
    assert "duckdb" in (project / "requirements.txt").read_text()
    config = (project / ".dlt/config.toml").read_text()
    assert not {"context", "order"} & {line.partition("=")[0].strip() for line in config.splitlines()}

    settings = {**reach(crm.sandbox), "SOURCES__INSIGHTLY__ENTITIES": "contacts,lead_sources"}
    # The copied program must import nothing of this project.
    alone = "import runpy, sys; sys.path[0] = '.'; runpy.run_path('insightly_pipeline.py', run_name='__main__')"
    check = f"{alone}; assert not [name for name in sys.modules if name.startswith(('sources', 'pipelines'))]"
    run(sys.executable, "-c", check, cwd=project, **home, **settings)
    (database,) = project.glob("*.duckdb")
    crm.assert_equal("contacts", "lead_sources", database=database)
    assert read(database, "select count(*) as n from insightly.contacts__tags")[0]["n"] > 0
    (stored,) = read(database, "select schema from insightly._dlt_version order by version desc limit 1")
    contacts = Schema.from_dict(json.loads(stored["schema"])).tables["contacts"]
    assert contacts["columns"]["phone"]["description"] == description_of("contacts", "phone")
    assert contacts["description"] == f"{description_of('contacts')} Key: contact_id."
