"""Definitions by name: what is found, and what is said when nothing is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.definitions import load_definition
from headrace.definitions.load import file_module
from headrace.errors import DefinitionError

MINE = """
from headrace import Count, Definition, Field, Schema, Stream, Sum

SALE = Schema([Field("shop", "string"), Field("sold_at", "timestamp"), Field("amount", "double")])

spend = Definition(
    name="spend",
    entity="shop",
    event_time="sold_at",
    source=Stream("sales", schema=SALE),
    features={"sales": Count(), "spent": Sum("amount", step="0.01")},
)
limit = 5
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a module of the user's; what it added to sys.modules is gone afterwards."""
    before = set(sys.modules)

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    yield file
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_built_in() -> None:
    segments = load_definition("segments")
    assert (segments.name, segments.entity, segments.zone) == ("segments", "customer_id", "UTC")
    assert segments.origin == "headrace.definitions.segments:segments"
    assert load_definition(segments.origin) == segments


def test_file(write: Write) -> None:
    path = write("mine.py", MINE)
    spend = load_definition(f"{path}:spend")
    assert (spend.name, list(spend.features)) == ("spend", ["sales", "spent"])
    assert spend.origin == f"{path}:spend"
    assert file_module(spend.origin) is sys.modules["mine"]


def test_file_relative_to_the_working_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("mine.py", MINE)
    monkeypatch.chdir(path.parent)
    assert load_definition("mine.py:spend").origin == f"{path}:spend"


def test_a_changed_file_is_loaded_anew(write: Write) -> None:
    path = write("mine.py", MINE)
    load_definition(f"{path}:spend")
    write("mine.py", MINE.replace("0.01", "0.1"))
    assert load_definition(f"{path}:spend").features["spent"].describe()["step"] == "0.1"


def test_package(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(write("shop_definitions.py", MINE).parent)
    assert load_definition("shop_definitions:spend").origin == "shop_definitions:spend"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("segmets", "there is no definition 'segmets'; found ['sales', 'segments']; nearest 'segments'"),
        ("mine.py", "'mine.py' names no definition; name one in the file: `mine.py:name`"),
        ("{folder}/mien.py:spend", "mien.py'; nearest 'mine.py'"),
        ("{folder}/nowhere/mine.py:spend", "there is no file"),
        ("{folder}/mine.py:spent", "has no 'spent'; found ['spend']; expected a Definition; nearest 'spend'"),
        ("{folder}/mine.py:limit", "'limit' of '{folder}/mine.py' is not a definition; found int; expected"),
        ("no_such_package.deep:x", "there is no module 'no_such_package.deep'; found no 'no_such_package'"),
        ("headrace.no_such:x", "there is no module 'headrace.no_such'; found no 'headrace.no_such'"),
        (":x", "there is no definition ':x'"),
        ("headrace:", "there is no definition 'headrace:'"),
    ],
)
def test_what_is_not_there(write: Write, name: str, says: str) -> None:
    folder = str(write("mine.py", MINE).parent)
    with pytest.raises(DefinitionError) as refusal:
        load_definition(name.format(folder=folder))
    assert says.format(folder=folder) in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "x = 1\nimport no_such_module\n",
            "No module named 'no_such_module' at {path}:2: import no_such",
        ),
        ("def f():\n    return 1 / 0\n\nf()\n", "ZeroDivisionError: division by zero at {path}:2: return 1 / 0"),
        ("x = (1,\n", "SyntaxError: '(' was never closed ({name}, line 1) at {path}:1: x = (1,"),
        ("raise SystemExit('not today')\n", "SystemExit: not today at {path}:1: raise SystemExit('not today')"),
        (MINE.replace('entity="shop"', 'entity="shpo"'), "nearest 'shop' at {path}:6: spend = Definition("),
    ],
)
def test_an_error_inside_the_file_is_shown_with_its_line(write: Write, text: str, says: str) -> None:
    path = write("broken.py", text)
    with pytest.raises(DefinitionError) as refusal:
        load_definition(f"{path}:spend")
    assert says.format(path=path, name=path.name) in str(refusal.value)
    assert "broken" not in sys.modules


def test_a_file_that_is_not_text(write: Write) -> None:
    path = write("mine.py", "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DefinitionError, match="cannot be read as Python"):
        load_definition(f"{path}:spend")


@pytest.mark.parametrize("name", ["json.py", "colorsys.py", "my-file.py"])
def test_a_file_that_hides_a_module_is_refused(write: Write, name: str) -> None:
    path = write(name, MINE)
    before = sys.modules.get(path.stem)
    with pytest.raises(DefinitionError, match=r"cannot be imported under its name.*rename the file"):
        load_definition(f"{path}:spend")
    assert sys.modules.get(path.stem) is before


def test_two_files_of_one_name_are_refused(write: Write, tmp_path: Path) -> None:
    load_definition(f"{write('mine.py', MINE)}:spend")
    (tmp_path / "other").mkdir()
    second = write("other/mine.py", MINE)
    with pytest.raises(DefinitionError, match="names another module"):
        load_definition(f"{second}:spend")


def test_the_name_of_a_built_in_definition_is_taken(write: Write) -> None:
    path = write("mine.py", MINE.replace('name="spend"', 'name="segments"'))
    with pytest.raises(DefinitionError, match="taken by a built-in definition; found 'segments'"):
        load_definition(f"{path}:spend")


def test_a_file_in_an_importable_folder_is_not_taken_for_another_module(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("orders_here.py", MINE)
    monkeypatch.syspath_prepend(tmp_path)
    assert load_definition(f"{path}:spend").name == "spend"
