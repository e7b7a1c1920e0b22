"""A real dbt in an environment of its own, over a package that the program wrote."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.process import ROOT

PYTHON = ROOT / ".venv-dbt/bin/python"
PROFILE, SCHEMA = "warehouse", "analytics"
TIMEOUT = 300
RUN = """
import sys
from dbt.cli.main import dbtRunner
for command in sys.argv[1:]:
    if not dbtRunner().invoke(command.split()).success:
        sys.exit(f"failed: dbt {command}")
"""


@dataclass
class Dbt:
    """A dbt project in `folder`, over the database of `output`."""

    folder: Path
    output: dict[str, Any]

    def run(self, *commands: str) -> None:
        """Runs commands of `dbt`, which must all succeed, in one process: dbt takes seconds to import."""
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        outputs = {"test": {**self.output, "schema": SCHEMA, "threads": 2}}
        profiles = {PROFILE: {"target": "test", "outputs": outputs}}
        (home / "profiles.yml").write_text(yaml.safe_dump(profiles), encoding="utf-8")
        done = subprocess.run(
            [PYTHON, "-c", RUN, *(f"--no-use-colors {command} --profile {PROFILE}" for command in commands)],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "DBT_PROFILES_DIR": str(home),
                "DO_NOT_TRACK": "1",
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def artifact(self, name: str) -> Any:
        """A file that the commands left: `manifest`, `catalog`, `run_results` or `sources`."""
        return json.loads((self.folder / f"target/{name}.json").read_text(encoding="utf-8"))
