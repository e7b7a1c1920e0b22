"""PyAirbyte with Airbyte's Insightly source, into DuckDB; run by the Python of `environment()`.

    python pyairbyte.py URL FILE START_DATE {load,read}

`load` loads into a DuckDB file. `read` runs only the source, and saves its state in the file.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

SOURCE = "airbyte-source-insightly"


def environment(folder: Path) -> Path | None:
    """The Python of an environment with Airbyte, created if missing; None if Airbyte cannot be installed."""
    python, done = folder / "bin/python", folder / "installed"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not done.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            subprocess.run([*install, "airbyte"], check=True, capture_output=True)
            # The source pins a framework that needs Python 3.10 or older. But the source is only a manifest, which runs
            # on the framework of PyAirbyte.
            subprocess.run([*install, "--no-deps", "--ignore-requires-python", SOURCE], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        done.touch()
    return python


def versions(python: Path) -> str:
    code = f"from importlib.metadata import version as v; print(v('airbyte'), v('airbyte-cdk'), v('{SOURCE}'))"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return "PyAirbyte {}, airbyte-cdk {}, airbyte-source-insightly {}".format(*found)


def manifest(url: str) -> Any:
    """The source's manifest, for the service at `url`."""
    import yaml

    file = next(path for path in distribution(SOURCE).files or () if path.name == "manifest.yaml")
    text = file.read_text(encoding="utf-8")
    # The manifest has a fixed address, and a spelling of the filter that the framework rejects. The new spelling is
    # Airbyte's own (pull request 54663), which is not released as a package.
    for old, new in (
        ("https://api.na1.insightly.com/v3.1/", f"{url}/"),
        ("stream_state['DATE_UPDATED_UTC']", "stream_interval['start_date']"),
    ):
        assert old in text
        text = text.replace(old, new)
    return yaml.safe_load(text)


def load(url: str, file: str, config: dict[str, str]) -> None:
    """Loads the contacts into a DuckDB file."""
    import airbyte

    source = airbyte.get_source("source-insightly", config=config, source_manifest=manifest(url), streams=["contacts"])
    with tempfile.TemporaryDirectory() as folder:
        cache = airbyte.DuckDBCache(db_path=file, schema_name="airbyte", cache_dir=Path(folder))
        source.read(cache=cache)


def read(url: str, file: str, config: dict[str, str]) -> None:
    """Runs only the source, from the state in `file` if there is one; its records are not stored."""
    stream = {"name": "contacts", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
    chosen = {"stream": stream, "sync_mode": "incremental", "destination_sync_mode": "append"}
    inputs = {"manifest-path": manifest(url), "config": config, "catalog": {"streams": [chosen]}}
    if Path(file).exists():
        inputs["state"] = json.loads(Path(file).read_text())
    command = [Path(sys.executable).with_name("source-declarative-manifest"), "read"]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in inputs.items():
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(content))
            command += [f"--{name}", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as source:
            for line in source.stdout or ():
                if line.startswith('{"type":"STATE"'):
                    Path(file).write_text(json.dumps([json.loads(line)["state"]]))
    sys.exit(source.returncode)


if __name__ == "__main__":
    url, file, start_date, what = sys.argv[1:]
    {"load": load, "read": read}[what](url, file, {"token": "benchmark", "start_date": start_date})
