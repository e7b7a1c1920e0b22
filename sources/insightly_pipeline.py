"""Insightly CRM into a database: the first run reads everything, later ones what changed."""

import sys

import dlt
from insightly import insightly  # type: ignore[import-not-found]


def load_insightly() -> None:
    """Loads the entities of the setting `entities`; run it again to update the tables."""
    # DuckDB's file has the name of the pipeline, and DuckDB confuses a file with a schema of the same name.
    pipeline = dlt.pipeline(pipeline_name="insightly_crm", destination="duckdb", dataset_name="insightly")
    info = pipeline.run(insightly())
    sys.stdout.write(f"{info}\n")


if __name__ == "__main__":
    load_insightly()
