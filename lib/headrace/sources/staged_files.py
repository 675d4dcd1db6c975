"""Files of an UNLOAD in S3: listed by their manifest, fetched in bounded memory, checked, joined into one file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import InputError, SourceUnavailable

if TYPE_CHECKING:
    from headrace.sources.unload import StagingPrefix

_CHUNK = 1 << 20
_ROWS = 65_536
_DELETED = 1_000  # keys of one DeleteObjects


def fetched(s3: Any, prefix: StagingPrefix, path: Path) -> tuple[int, int, int]:
    """Write the rows of the staged files, in the manifest's order, to `path`, whole or not at all.

    Out: rows, files, bytes. Raises InputError for an empty result; SourceUnavailable for a manifest that is not there
    or a file that is not what it says: the unload ended half-way, or somebody touched its files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifest = _manifest(s3, prefix)
    entries = manifest.get("entries", [])
    rows = sum(int(entry.get("meta", {}).get("record_count", 0)) for entry in entries)
    if not rows:
        raise InputError("the query gives no row", do="mend its conditions, or load the tables first")
    folder = path.parent / f".{path.name}.{os.getpid()}.staged"
    folder.mkdir(parents=True, exist_ok=True)
    joined, size, written = folder / "joined.parquet", 0, 0
    try:
        writer: pq.ParquetWriter | None = None
        with ExitStack() as opened:
            out = opened.enter_context(pa.OSFile(str(joined), "wb"))
            for number, entry in enumerate(entries):
                part = folder / f"{number:05d}.parquet"
                size += _download(s3, prefix, entry, part)
                for batch in _batches(part):
                    writer = writer or opened.enter_context(pq.ParquetWriter(out, batch.schema, compression="zstd"))
                    writer.write_batch(batch)
                    written += batch.num_rows
                part.unlink()
        if written != rows:
            raise _half("the manifest counts other rows than the files hold", f"{written:,} of {rows:,}")
        joined.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return written, len(entries), size


def removed(s3: Any, prefix: StagingPrefix) -> int:
    """Remove everything below the run's own prefix; how many objects there were."""
    keys = [
        {"Key": one["Key"]}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        for one in page.get("Contents", [])
    ]
    for start in range(0, len(keys), _DELETED):
        s3.delete_objects(Bucket=prefix.bucket, Delete={"Objects": keys[start : start + _DELETED], "Quiet": True})
    return len(keys)


def _manifest(s3: Any, prefix: StagingPrefix) -> Mapping[str, Any]:
    from botocore.exceptions import ClientError

    try:
        text = s3.get_object(Bucket=prefix.bucket, Key=f"{prefix.key}manifest")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        raise _half("there is no manifest", f"none at {prefix.url}manifest") from error
    try:
        told: Mapping[str, Any] = json.loads(text)
    except ValueError as error:
        raise _half("the manifest cannot be read", str(error)) from error
    return told


def _download(s3: Any, prefix: StagingPrefix, entry: Mapping[str, Any], part: Path) -> int:
    """Fetch one file: of this run's prefix only, as long as the manifest says, with the ETag of the whole object."""
    url = str(entry.get("url", ""))
    if not url.startswith(prefix.url):
        raise _half("the manifest names a file of another run", repr(url))
    told = s3.get_object(Bucket=prefix.bucket, Key=url.removeprefix(f"s3://{prefix.bucket}/"))
    size, digest = 0, hashlib.md5(usedforsecurity=False)
    with part.open("wb") as out:
        for chunk in told["Body"].iter_chunks(_CHUNK):
            out.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    expected = int(entry.get("meta", {}).get("content_length", told["ContentLength"]))
    if size != expected:
        raise _half(f"{url} is not as long as the manifest says", f"{size:,} of {expected:,} bytes")
    # The ETag is the MD5 unless the object came in parts or is encrypted with a key of KMS.
    etag = str(told.get("ETag", "")).strip('"')
    plain = "-" not in etag and "aws:kms" not in str(told.get("ServerSideEncryption", ""))
    if etag and plain and etag != digest.hexdigest():
        raise _half(f"{url} does not have the bytes of its ETag", digest.hexdigest())
    return size


def _batches(part: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part) as file:
            yield from file.iter_batches(_ROWS)
    except pa.ArrowInvalid as error:
        raise _half("a staged file is damaged", str(error)) from error


def _half(what: str, found: str) -> SourceUnavailable:
    return SourceUnavailable(f"the unload is not whole: {what}", found=found, do="run again: it stages anew")
