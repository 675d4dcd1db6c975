"""Columns of a file are matched by name or alias, and what does not match is refused by name."""

from __future__ import annotations

import gzip

import pytest

from headrace.errors import InputError, SchemaError
from headrace.schemas import Field, Schema
from headrace.sources.headers import header, match

SCHEMA = Schema(
    [
        Field("order_id", "string", required=True, aliases=("OrderNo",)),
        Field("customer_id", "string", aliases=("Customer ID",)),
        Field("note", "string"),
    ]
)


def test_names_and_aliases_match_without_case_and_blanks():
    matched = match("f", ["extra", "CUSTOMERid ", "orderno", "NOTE"], SCHEMA, ())
    assert matched.at == {"order_id": 2, "customer_id": 1, "note": 3}
    assert (matched.ignored, matched.absent, matched.width) == (("extra",), (), 4)


def test_a_nullable_column_may_be_absent_and_is_named():
    matched = match("f", ["OrderNo", "CustomerID", "zzz"], SCHEMA, ())
    assert matched.absent == ("note",)


@pytest.mark.parametrize(
    ("found", "needed", "message"),
    [
        (
            ["CustomerID", "note"],
            (),
            r"f lacks column 'order_id'; found \['CustomerID', 'note'\]; expected 'order_id' or",
        ),
        (["OrderNr", "CustomerID", "note"], (), r"lacks column 'order_id'.*nearest 'OrderNr'"),
        (["OrderNo", "Client", "note"], ("customer_id",), "lacks column 'customer_id'"),
        (["OrderNo", "customer", "note"], (), "lacks column 'customer_id'.*nearest 'customer'.*rename the column"),
        (["OrderNo", "order_id"], (), r"two columns for 'order_id'; found \['OrderNo', 'order_id'\]"),
        (["OrderNo", "orderno"], (), "two columns of one name; found 'orderno'"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(found, needed, message):
    with pytest.raises(SchemaError, match=message):
        match("f", found, SCHEMA, needed)


def test_columns_without_a_name_are_ignored():
    assert match("f", ["", "OrderNo", "CustomerID", "note", ""], SCHEMA, ()).ignored == ("", "")


def test_the_header_is_read_without_byte_order_mark_and_quotes(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf"Order, No",b\r\n1,2\r\n'))
    assert header(path) == ["Order, No", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9,b\n", "not UTF-8; found byte 0xe9 at 3; convert the file"),
        (b'"a,b\n1,2\n', "has a broken quote"),
        (b"a\x00,b\n", "contains NUL"),
        (b"a,b\r1,2\r3,4\r5,6", "carriage return"),
        (b"\na,b\n", "starts with a blank line"),
        (b"x" * (1 << 21), "more than 1,048,576 bytes without a line end"),
    ],
)
def test_a_first_line_that_is_no_header_is_refused(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        header(path)
