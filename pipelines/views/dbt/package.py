"""The files of a dbt package, as texts. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import yaml
from sqlglot import exp

from pipelines.destinations.system_tables import RUNS

from ..marts import DIALECT, is_live, record_columns
from .models import ModelWriter, escape_jinja
from .sources import SourceTable

DBT = [">=1.10.8", "<2.0.0"]
"""The versions of dbt that read `arguments` of tests and `loaded_at_query`."""
FRESHNESS = {"warn_after": {"count": 1, "period": "day"}, "error_after": {"count": 3, "period": "day"}}
README = """\
# Insightly as a dbt package

Sources, staging models and marts over the tables that `insightly sync` loads, in the SQL of {dialect}.

| folder | content |
|---|---|
| `models/sources.yml` | the tables, with descriptions, tests of their keys, and freshness |
| `models/staging/` | `{staging}` …: the live records of each table |
| `models/marts/` | `{mart}` …: questions, answered |
| `models/exposures.yml` | the page of `insightly dashboard` |

Run it with a profile of your own, which connects to the same database. Give the profile another schema than `{schema}`,
which belongs to the sync.

```
dbt build --project-dir . --profile NAME
dbt source freshness --project-dir . --profile NAME
```

Or add it to your project, in `packages.yml`, and run `dbt deps`:

```
packages:
  - local: path/to/this/folder
```

Your project can override what the package sets:

```
vars:
  {package}_schema: {schema} # the dataset of the tables
  {package}_database: crm # their database, if it is not that of your profile
models:
  {package}:
    marts:
      +materialized: table
sources:
  {package}:
    +freshness:
      warn_after: {{count: 6, period: hour}}
```

`insightly marts --dbt FOLDER` writes the files again, for instance after a new custom field, and removes models that
are gone. It refuses to replace a file that you changed, so put your models elsewhere.
"""

Yaml = dict[str, Any]


@dataclass(frozen=True)
class Package:
    """A dbt package over the tables of a destination.

    Attributes:
        models: writes the models, and knows the sources.
        marts: the marts that can be queried here, with the SQL of their models.
        comments: mart -> column, or "" for the mart itself -> what it is.
        exposed: the marts that the dashboard shows.
        paths: table -> its path in the database, which ends with the dataset and the name.
        version: of this program.
    """

    models: ModelWriter
    marts: Mapping[str, str]
    comments: Mapping[str, Mapping[str, str]]
    exposed: Collection[str]
    paths: Mapping[str, Sequence[str]]
    version: str

    def files(self) -> dict[str, str]:
        """The path and the text of each file."""
        names = self.models.names
        files = {
            ".gitignore": "dbt_packages/\nlogs/\ntarget/\n",
            "README.md": self._readme(),
            "dbt_project.yml": _to_yaml(self._project()),
            "models/sources.yml": _to_yaml(self._sources()),
            "models/exposures.yml": _to_yaml(self._exposures()),
            "models/staging/staging.yml": _to_yaml(_models(self._staging())),
            "models/marts/marts.yml": _to_yaml(_models(self._marts())),
        }
        for table in self._staged():
            files[f"models/staging/{names.staging(table.name)}.sql"] = self.models.staging(table) + "\n"
        for name, sql in self.marts.items():
            files[f"models/marts/{names.mart(name)}.sql"] = sql + "\n"
        return files

    @property
    def schema(self) -> str:
        return self.paths[RUNS][-2]

    def _project(self) -> Yaml:
        package = self.models.names.package
        return {
            "name": package,
            "version": self.version,
            "config-version": 2,
            "require-dbt-version": DBT,
            "model-paths": ["models"],
            "clean-targets": ["target", "dbt_packages"],
            "models": {package: {"+materialized": "view"}},
            "sources": {package: {"+freshness": FRESHNESS}},
        }

    def _readme(self) -> str:
        names = self.models.names
        staged, marts = next(self._staged(), None), next(iter(self.marts), "")
        return README.format(
            dialect=self.models.writer.dialect,
            package=names.package,
            schema=self.schema,
            staging=names.staging(staged.name if staged else ""),
            mart=names.mart(marts),
        )

    def _sources(self) -> Yaml:
        package = self.models.names.package
        source = {
            "name": package,
            "description": "Insightly CRM, as insightly-sync loads it.",
            "database": f"{{{{ var('{package}_database', none) }}}}",
            "schema": f"{{{{ var('{package}_schema', '{self.schema}') }}}}",
            "tables": [self._source(table) for table in self.models.sources.values()],
        }
        return {"version": 2, "sources": [source]}

    def _source(self, table: SourceTable) -> Yaml:
        identifier = self.paths[table.name][-1]
        key = [self._unique(table.key)] if len(table.key) > 1 else []
        return _without_empty(
            {
                "name": table.name,
                "identifier": identifier if identifier != table.name else None,
                "description": escape_jinja(table.description),
                "config": {"loaded_at_query": self._loaded_at(table.entity)},
                "data_tests": key,
                "columns": [self._source_column(table, column) for column in table.columns],
            }
        )

    def _source_column(self, table: SourceTable, column: str) -> Yaml:
        tests: list[Any] = ["not_null"] if column in table.key else []
        if table.key == (column,):
            tests.insert(0, "unique")
        if column in table.references:
            tests.append(self._relationship(table, column))
        description = escape_jinja(table.columns[column])
        return _without_empty({"name": column, "description": description, "data_tests": tests})

    def _relationship(self, table: SourceTable, column: str) -> Yaml:
        """A test that only warns: Insightly keeps the ids of records that are gone, or hidden from the key."""
        referenced, key = table.references[column]
        config: Yaml = {"severity": "warn"}
        if table.marks_deletions:
            config["where"] = self.models.writer.expression(is_live())
        to = f"source('{self.models.names.package}', '{referenced}')"
        return {"relationships": {"arguments": {"to": to, "field": key}, "config": config}}

    def _unique(self, columns: Sequence[str]) -> Yaml:
        """A test that no two rows have the same values in all of some columns."""
        parts: list[Any] = [exp.Literal.string("-")] * (2 * len(columns) - 1)
        parts[::2] = [exp.cast(exp.column(name), "VARCHAR", dialect=DIALECT) for name in columns]
        joined = reduce(lambda left, right: exp.DPipe(this=left, expression=right), parts)
        return {"unique": {"arguments": {"column_name": self.models.writer.expression(joined)}}}

    def _loaded_at(self, entity: str | None) -> str:
        """The query for the start of the last complete sync of an entity, or of the last run of all."""
        query = exp.select(exp.Max(this=exp.column("started"))).from_(self.models.source(RUNS, RUNS))
        values = {"command": "sync", "state": "ok", "entity": entity} if entity else {}
        return self.models.writer.select(query.where(*(exp.column(name).eq(text) for name, text in values.items())))

    def _staged(self) -> Iterator[SourceTable]:
        return (table for table in self.models.sources.values() if table.staged)

    def _staging(self) -> Iterator[Yaml]:
        for table in self._staged():
            columns = {name: table.columns[name] for name in record_columns(table.columns)}
            yield self._model(self.models.names.staging(table.name), {"": table.description, **columns})

    def _marts(self) -> Iterator[Yaml]:
        for name in self.marts:
            yield self._model(self.models.names.mart(name), self.comments[name])

    def _model(self, name: str, texts: Mapping[str, str]) -> Yaml:
        """A model; `texts` says what it is, under "", and what its columns are."""
        description, *columns = (
            _without_empty({"name": column, "description": escape_jinja(text)}) for column, text in texts.items()
        )
        return {"name": name, **description, "columns": columns}

    def _exposures(self) -> Yaml:
        package = self.models.names.package
        shown = [f"ref('{self.models.names.mart(name)}')" for name in self.exposed if name in self.marts]
        dashboard = {
            "name": f"{package}_dashboard",
            "label": "Insightly dashboard",
            "type": "dashboard",
            "description": "The page of `insightly dashboard`: pipeline, wins, deals to work on, health of the sync.",
            "depends_on": [*shown, f"source('{package}', '{RUNS}')"],
            "owner": {"name": "insightly-sync"},
        }
        return {"version": 2, "exposures": [dashboard]}


def _models(models: Iterable[Yaml]) -> Yaml:
    return {"version": 2, "models": list(models)}


def _without_empty(facts: Yaml) -> Yaml:
    return {name: value for name, value in facts.items() if value not in (None, "", [])}


class _Dumper(yaml.SafeDumper):
    """Writes lists below their key, and texts of several lines as blocks, as dbt's style guide has them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _to_yaml(data: Yaml) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
