"""A plain dlt `rest_api` pipeline, written as in its documentation: parquet, child tables, DuckDB.

python plain_dlt.py URL FILE
"""

import sys

import dlt
from dlt.sources.rest_api import rest_api_source

url, file = sys.argv[1:]
source = rest_api_source(
    {
        "client": {
            "base_url": f"{url}/",
            "auth": {"type": "http_basic", "username": "benchmark", "password": ""},
            "paginator": {
                "type": "offset",
                "limit": 500,
                "limit_param": "top",
                "offset_param": "skip",
                "total_path": None,
                "stop_after_empty_page": True,
            },
        },
        "resources": [
            {
                "name": "contacts",
                "primary_key": "CONTACT_ID",
                "write_disposition": "merge",
                "endpoint": {"path": "Contacts", "params": {"count_total": "true"}},
            }
        ],
    }
)
pipeline = dlt.pipeline("plain_dlt", destination=dlt.destinations.duckdb(file), dataset_name="plain")
print(pipeline.run(source, loader_file_format="parquet"))
