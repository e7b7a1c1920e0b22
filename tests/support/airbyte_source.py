"""Airbyte's source for Insightly, led to another host: `python airbyte_source.py URL check --config FILE`.

Its manifest names the host; everything else is as the package has it. Runs in `.venv-airbyte`.
"""

import sys
from importlib.resources import files

import yaml
from airbyte_cdk.entrypoint import launch
from airbyte_cdk.sources.declarative.manifest_declarative_source import ManifestDeclarativeSource

url, *arguments = sys.argv[1:]
manifest = yaml.safe_load(files("source_insightly").joinpath("manifest.yaml").read_text(encoding="utf-8"))
manifest["definitions"]["base_requester"]["url_base"] = f"{url}/"
launch(ManifestDeclarativeSource(manifest), arguments)
