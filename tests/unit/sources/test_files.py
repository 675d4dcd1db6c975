"""A file is identified by its bytes, and refused by name where it cannot be read to its end."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import zlib
from pathlib import Path

import pytest

from headrace.errors import InputError
from headrace.sources.files import blank_lines, fingerprint

TEXT = b"a,b\n1,2\n\n3,4"


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_the_fingerprint_is_of_the_stored_bytes_and_counts_unpacked_lines(tmp_path):
    plain = fingerprint(written(tmp_path, "a.csv", TEXT))
    packed = fingerprint(written(tmp_path, "a.csv.gz", gzip.compress(TEXT)))

    assert plain.sha256 == hashlib.sha256(TEXT).hexdigest()
    assert packed.sha256 == hashlib.sha256((tmp_path / "a.csv.gz").read_bytes()).hexdigest()
    assert (plain.lines, packed.lines) == (4, 4)
    assert (plain.bytes, plain.format, packed.format) == (len(TEXT), "csv", "csv")


def test_a_last_line_with_an_end_is_no_further_line(tmp_path):
    assert fingerprint(written(tmp_path, "a.csv", TEXT + b"\n")).lines == 4


def test_a_gzip_file_of_several_members_is_read_to_the_end(tmp_path):
    members = gzip.compress(b"a,b\n") + gzip.compress(b"1,2\n3,4\n")
    assert fingerprint(written(tmp_path, "a.csv.gz", members)).lines == 3


def test_a_small_gzip_file_that_unpacks_to_much_is_read_in_bounded_pieces(tmp_path):
    packed = gzip.compress(b"x\n" * 8_000_000)
    assert len(packed) < 100_000
    assert fingerprint(written(tmp_path, "a.csv.gz", packed)).lines == 8_000_000


def test_a_truncated_gzip_file_is_refused_naming_file_and_byte(tmp_path):
    noise = random.Random(7).randbytes(100_000)
    whole = gzip.compress(b"a,b\n" + noise)
    for kept in (len(whole) - 1, len(whole) // 2, 20):
        path = written(tmp_path, "cut.csv.gz", whole[:kept])
        with pytest.raises(InputError, match=f"cut.csv.gz is truncated; found end of file at byte {kept:,} "):
            fingerprint(path)


def test_a_gzip_file_with_a_wrong_checksum_is_refused(tmp_path):
    packed = bytearray(gzip.compress(TEXT))
    packed[-8] ^= 1
    with pytest.raises(InputError, match=r"bad\.csv\.gz is damaged; found .*incorrect data check.* bytes 0 and "):
        fingerprint(written(tmp_path, "bad.csv.gz", bytes(packed)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv is empty; found 0 bytes"),
        ("empty.csv.gz", b"", "empty.csv.gz is empty; found 0 bytes"),
        ("hollow.csv.gz", gzip.compress(b"", mtime=0), "hollow.csv.gz is empty"),
        ("a.csv.gz", TEXT, "a.csv.gz is not a gzip file"),
        ("a.csv", gzip.compress(TEXT, mtime=0), "a.csv is packed with gzip; rename it to a.csv.gz"),
        ("a.csv", b"PK\x03\x04...", "a.csv is not plain text; found a zip or Excel file"),
        ("a.csv", "a,b\n".encode("utf-16"), "a.csv is not plain text; found UTF-16 text"),
        ("a.parquet", TEXT, "a.parquet is not a Parquet file"),
        ("a.parquet", b"PAREsecret", "a.parquet is an encrypted Parquet file"),
        ("a.cvs", TEXT, "a.cvs is of no known format; .*nearest '.csv'"),
        ("_a.csv", TEXT, "the file name '_a.csv' cannot be read by Spark"),
        ("a:b.csv", TEXT, "the file name 'a:b.csv' cannot be read by Spark"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        fingerprint(written(tmp_path, name, content))


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path):
    written(tmp_path, "orders.csv", TEXT)
    with pytest.raises(InputError, match=r"order\.csv does not exist; nearest 'orders\.csv'"):
        fingerprint(tmp_path / "order.csv")


def test_a_folder_and_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is a folder; expected one file"):
        fingerprint(tmp_path)
    with pytest.raises(InputError, match=r"pipe\.csv is not a regular file"):
        fingerprint(tmp_path / "pipe.csv")


def test_a_file_without_read_permission_is_refused(tmp_path):
    path = written(tmp_path, "mine.csv", TEXT)
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o001)
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"mine\.csv may not be read; found Permission denied"):
            fingerprint(path)
    finally:
        if is_root:
            os.seteuid(0)


def test_blank_lines_are_counted_outside_quotes_only(tmp_path):
    path = written(tmp_path, "a.csv.gz", gzip.compress(b'a,b\n\n1,"x\n\ny"\n  \r\n'))
    file = fingerprint(path)
    assert blank_lines(file, multiline=False) == 3
    assert blank_lines(file, multiline=True) == 2


def test_trailing_bytes_after_the_gzip_data_are_refused(tmp_path):
    with pytest.raises(InputError, match="damaged"):
        fingerprint(written(tmp_path, "a.csv.gz", gzip.compress(TEXT) + b"left over"))
    assert zlib.decompress(gzip.compress(TEXT), wbits=31) == TEXT
