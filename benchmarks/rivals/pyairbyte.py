"""PyAirbyte with Airbyte's Insightly source, into DuckDB; run by the Python of `environment()`.

    python pyairbyte.py URL FILE START_DATE TIMES

Prints the records of each of the runs.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

SOURCE = "airbyte-source-insightly"


def environment(folder: Path) -> Path | None:
    """The Python of an environment that has Airbyte, made where it is missing; None where it cannot be installed."""
    python, done = folder / "bin/python", folder / "installed"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not done.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            subprocess.run([*install, "airbyte"], check=True, capture_output=True)
            # The source pins a framework that imports on no Python above 3.10; its manifest, which is all there is to
            # it, runs on the framework that PyAirbyte brings.
            subprocess.run([*install, "--no-deps", "--ignore-requires-python", SOURCE], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        done.touch()
    return python


def versions(python: Path) -> str:
    code = f"from importlib.metadata import version as v; print(v('airbyte'), v('airbyte-cdk'), v('{SOURCE}'))"
    told = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return "PyAirbyte {}, airbyte-cdk {}, airbyte-source-insightly {}".format(*told)


def main(url: str, file: str, start_date: str, times: str) -> None:
    import airbyte
    import yaml

    manifest = next(path for path in distribution(SOURCE).files or () if path.name == "manifest.yaml")
    text = manifest.read_text(encoding="utf-8")
    # The address is fixed. And the framework refuses the filter's old spelling; Airbyte's own later one (its pull request
    # 54663) is not on the package index.
    for old, new in (
        ("https://api.na1.insightly.com/v3.1/", f"{url}/"),
        ("stream_state['DATE_UPDATED_UTC']", "stream_interval['start_date']"),
    ):
        assert old in text
        text = text.replace(old, new)
    source = airbyte.get_source(
        "source-insightly",
        config={"token": "benchmark", "start_date": start_date},
        source_manifest=yaml.safe_load(text),
        streams=["contacts"],
    )
    with tempfile.TemporaryDirectory() as folder:
        cache = airbyte.DuckDBCache(db_path=file, schema_name="airbyte", cache_dir=Path(folder))
        for _ in range(int(times)):
            print(source.read(cache=cache).processed_records)


if __name__ == "__main__":
    main(*sys.argv[1:])
