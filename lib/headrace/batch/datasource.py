"""The data source of a file: its schema, inferred once and edited by people, and the statistics of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.config import Settings, text_of
from headrace.definitions.draft import checked_name, drafted
from headrace.errors import InputError
from headrace.evaluate.datasource import DataSource, inferred, statistics
from headrace.sources.failures import named_failures
from headrace.sources.files import fingerprint, spark_path
from headrace.sources.warehouse import rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def described(
    spark: SparkSession, path: Path, schema: Path, target: str | None
) -> tuple[DataSource, list[dict[str, Any]]]:
    """The data source as `schema` says, or else as inferred, which is written there; and its statistics.

    target: the column to tell, None: what the schema says. Raises InputError where neither says it, and as `inferred`;
    SchemaError where the file is not what the schema says.
    """
    file = fingerprint(path)
    with named_failures(file.name):
        rows = _read(spark, file.path, file.format).persist()
        try:
            source = _source(rows, schema, target)
            return source, statistics(source, rows)
        finally:
            rows.unpersist(blocking=True)


def asked(settings: Settings, query: Path, path: Path, *, replace: bool) -> None:
    """Write the rows of the query in a file to `path`, Parquet, from the warehouse that the settings name.

    replace: overwrite a file that is there. Raises InputError for no place for the rows, and as `rows_of`.
    """
    if path.suffix != ".parquet":
        raise InputError("the rows of a query become a Parquet file", found=path.name, expected="NAME.parquet")
    _require_free(path, replace=replace)
    rows_of(settings, text_of(query, "the query"), path)


def written_definition(
    path: Path,
    file: Path,
    source: DataSource,
    columns: Sequence[Mapping[str, Any]],
    *,
    entity: str | None,
    event_time: str | None,
    replace: bool,
) -> str:
    """Write a definition that tells the target of a described file to `path`; what commands call it: `path:name`.

    replace: overwrite a file that is there. Raises InputError as `require_writable` and `drafted`.
    """
    name = require_writable(path, replace=replace)
    form = fingerprint(file).format
    text = drafted(source, columns, name=name, file=file.name, form=form, entity=entity, event_time=event_time)
    with path.open("w" if replace else "x", encoding="utf-8") as out:
        out.write(text)
    return f"{path}:{name}"


def require_writable(path: Path, *, replace: bool) -> str:
    """The name of the definition that `path` will hold. Raises InputError for no place or name for one."""
    if path.suffix != ".py":
        raise InputError("a definition is a Python file", found=path.name, expected="NAME.py")
    _require_free(path, replace=replace)
    return checked_name(path.stem)


def _require_free(path: Path, *, replace: bool) -> None:
    if path.exists() and not replace:
        raise InputError(f"{path} is there already", do="name another file, or overwrite it: --replace")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", do="make it, or name another file")


def _source(rows: DataFrame, schema: Path, target: str | None) -> DataSource:
    if schema.is_file():
        source = DataSource.of(text_of(schema, "the schema"))
        source.require(rows)
        if target is not None and target != source.target:
            raise InputError(
                f"{schema.name} names another target",
                found=repr(source.target),
                expected=repr(target),
                do="edit the file, or leave --target out",
            )
        return source
    if target is None:
        raise InputError("nothing says which column is to be told", do="name it: --target NAME")
    source = inferred(rows, target)
    partial = schema.with_name(f".{schema.name}.partial")
    partial.write_text(source.to_toml(), "utf-8")
    partial.replace(schema)
    return source


def _read(spark: SparkSession, path: Path, form: str) -> DataFrame:
    # Quotes inside quotes are doubled, as ingest reads them.
    options: Mapping[str, Mapping[str, str]] = {"csv": {"header": "true", "inferSchema": "true", "escape": '"'}}
    return spark.read.format(form).options(**options.get(form, {})).load(spark_path(path))
