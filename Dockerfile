# docker build -t insightly-sync . && docker run --rm -v crm:/data -e SOURCES__INSIGHTLY__API_KEY insightly-sync sync
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 insightly && mkdir /data && chown insightly /data
WORKDIR /opt/insightly-sync
# The pinned libraries, with those of Postgres and Delta tables, change seldom: a layer of their own.
COPY constraints-destinations.txt ./
RUN pip install --no-cache-dir --require-hashes -r constraints-destinations.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY sources sources
COPY pipelines pipelines
COPY marts marts
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

USER insightly
# crm.duckdb, and dlt's working folder; settings come from the environment or from /data/.dlt.
WORKDIR /data
ENV DLT_DATA_DIR=/data/.dlt-home PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["insightly"]
CMD ["--help"]
