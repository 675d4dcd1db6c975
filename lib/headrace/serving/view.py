"""One definition's outputs in memory, column by column: numbers as numbers, so that a million keys fit.

A row is kept as numbers only where those spell the very text that was stored; what does not (another shape, a list
that is long, a number of another kind than its column's) is kept as that text. So what a view says is what the store
holds, to the character.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from typing import Any, Literal

from headrace.schemas import Vector

Layer = Literal["batch", "speed"]
_LAYERS: tuple[Layer, Layer] = ("batch", "speed")
_GONE = 2
_NO_INTEGER = -(2**63)
_MOST_TEXTS = 65_535  # of one column, coded in two bytes; a column of more is kept as text
_SLOTS = 1 << 10
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Rows:
    """Which row an entity stands in: a hash table of row numbers over one run of all the keys' bytes.

    >>> rows = Rows()
    >>> rows.add("a"), rows.add("ü"), rows.find("ü"), rows.find("b")
    (0, 1, 1, -1)
    """

    def __init__(self) -> None:
        self._keys = bytearray()
        self._ends = array("Q")
        self._slots = array("I", bytes(4 * _SLOTS))  # row + 1; 0 is empty

    def __len__(self) -> int:
        return len(self._ends)

    def find(self, entity: str) -> int:
        """The row of the entity, -1 where it has none."""
        key = entity.encode()
        return self._slots[self._slot(key)] - 1

    def add(self, entity: str) -> int:
        """A new row for an entity that has none."""
        key = entity.encode()
        row = len(self._ends)
        self._keys += key
        self._ends.append(len(self._keys))
        if 3 * row >= 2 * len(self._slots):
            self._grow()
        else:
            self._slots[self._slot(key)] = row + 1
        return row

    def key(self, row: int) -> bytes:
        return bytes(self._keys[self._ends[row - 1] if row else 0 : self._ends[row]])

    def _slot(self, key: bytes) -> int:
        """Where the key stands, or would. Python's hash of bytes is keyed anew by each process, so nobody outside
        can choose keys that collide."""
        slots, mask = self._slots, len(self._slots) - 1
        at = hash(key) & mask
        while (row := slots[at]) and self.key(row - 1) != key:
            at = (at + 1) & mask
        return at

    def _grow(self) -> None:
        self._slots = array("I", bytes(8 * len(self._slots)))
        for row in range(len(self._ends)):
            self._slots[self._slot(self.key(row))] = row + 1


class Column:
    """The values of one output, as what they first were: whole numbers, doubles, or a few different texts of JSON."""

    def __init__(self, rows: int) -> None:
        self.cells: array[Any] = array("H", bytes(2 * rows))
        self.texts: list[str] = ["null"]
        self._codes: dict[str, int] = {"null": 0}

    @property
    def is_coded(self) -> bool:
        """Whether a cell is the number of one of `texts`."""
        return self.cells.typecode == "H"

    def text(self, row: int) -> str:
        """The value as JSON; JSON has no NaN, so it stands for null."""
        value = self.cells[row]
        if self.is_coded:
            text: str = self.texts[value]
            return text
        return "null" if value != value or value == _NO_INTEGER else repr(value)  # noqa: PLR0124

    def put(self, row: int, value: Any) -> bool:
        """Set a value, as far as the column can hold it; whether the column is of another kind since."""
        cells = self.cells
        if type(value) is float and cells.typecode == "d":  # nearly all there is, a million times over
            if row == len(cells):
                cells.append(value)
            else:
                cells[row] = value
            return False
        changed = type(value) in (int, float) and len(self.texts) == 1 and self.is_coded
        if changed:
            self._become("d" if type(value) is float else "q")
        kind = self.cells.typecode
        if kind == "d":
            value = float("nan") if type(value) is not float else value
        elif kind == "q":
            value = value if type(value) is int and -(2**63) < value < 2**63 else _NO_INTEGER
        else:
            value = self._code(_dumps(value))
        if row == len(self.cells):
            self.cells.append(value)
        else:
            self.cells[row] = value
        return changed

    def _become(self, kind: Literal["d", "q"]) -> None:
        """The column has held nothing but nulls; now it is one of numbers."""
        self.cells = array(kind, [float("nan") if kind == "d" else _NO_INTEGER]) * len(self.cells)

    def _code(self, text: str) -> int:
        code = self._codes.get(text)
        if code is None:
            if len(self.texts) > _MOST_TEXTS:
                return 0
            code = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return code


class Columns:
    """The outputs of entities, each as last put.

    >>> columns = Columns()
    >>> columns.put("a", '{"features":{"n":1,"x":2.5},"prediction":{"name":"ü"}}', "batch")
    >>> columns.get("a")
    ('{"features":{"n":1,"x":2.5},"prediction":{"name":"ü"}}', 'batch', Vector({}))
    >>> columns.get("b") is None
    True
    """

    def __init__(self) -> None:
        self._rows = Rows()
        self._layers = bytearray()
        self._shape: list[tuple[str, tuple[str, ...]]] = []
        self._columns: list[Column] = []
        self._template = self._any_template = ""
        self._coded: list[tuple[int, list[str]]] = []
        self._plain = bytearray()  # whether the row has a value in every column, so that the template spells it
        self._aside: dict[int, str] = {}
        self._vectors: dict[int, Vector] = {}
        self._alike: dict[Vector, Vector] = {}

    def __len__(self) -> int:
        return len(self._rows) - self._layers.count(_GONE)

    @property
    def aside(self) -> int:
        """How many rows are kept as text."""
        return len(self._aside)

    def get(self, entity: str) -> tuple[str, Layer, Vector] | None:
        """The outputs as they were put, their layer, and what is counted of this entity alone; None: not held."""
        row = self._rows.find(entity)
        if row < 0 or self._layers[row] == _GONE:
            return None
        text = self._quickly(row) if self._plain[row] else self._aside.get(row) or self._spelled(row)
        return text, _LAYERS[self._layers[row]], self._vectors.get(row, _NOTHING)

    def put(
        self,
        entity: str,
        outputs: str,
        layer: Layer,
        vector: Vector | None = None,
        *,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Hold these outputs of the entity from now on; values: what they say, where that is known."""
        row = self._rows.find(entity)
        if values is None:
            values = json.loads(outputs)
        if not self._template:
            self._take_shape(values)
        if row < 0:
            row = self._rows.add(entity)
            self._layers.append(0)
            self._plain.append(0)
        self._layers[row] = _LAYERS.index(layer)
        self._plain[row] = 0
        changed = False
        for column, cell in zip(self._columns, self._cells(values), strict=True):
            changed = column.put(row, cell) or changed
        if changed:  # then every row before has a null in that column
            self._plain = bytearray(len(self._plain))
            self._take_templates()
        self._plain[row] = self._quickly(row) == outputs
        if self._plain[row] or self._spelled(row) == outputs:
            self._aside.pop(row, None)
        else:
            self._aside[row] = outputs
        if vector:
            self._vectors[row] = self._shared(vector)
        else:
            self._vectors.pop(row, None)

    def drop(self, entity: str) -> None:
        """Hold nothing of the entity from now on."""
        row = self._rows.find(entity)
        if row >= 0:
            self._layers[row] = _GONE
            self._aside.pop(row, None)
            self._vectors.pop(row, None)

    def layer_of(self, entity: str) -> Layer | None:
        """Which layer the entity's outputs are of; None: not held."""
        row = self._rows.find(entity)
        return None if row < 0 or self._layers[row] == _GONE else _LAYERS[self._layers[row]]

    def _shared(self, vector: Vector) -> Vector:
        """The same vector for all the rows that one micro-batch wrote."""
        if len(self._alike) > len(self._vectors) + _SLOTS:
            self._alike = {held: held for held in self._vectors.values()}
        return self._alike.setdefault(vector, vector)

    def _take_shape(self, values: Mapping[str, Any]) -> None:
        """The names that the first row has are the columns."""
        self._shape = [(part, tuple(held)) for part, held in values.items() if isinstance(held, dict)]
        self._columns = [Column(len(self._layers)) for _, names in self._shape for _ in names]
        self._take_templates()

    def _take_templates(self) -> None:
        """How a row is spelled, as its columns are now."""
        columns = iter(self._columns)
        whole, any_row = [], []
        for part, names in self._shape:
            members = [(_escaped(name), "%s" if next(columns).is_coded else "%r") for name in names]
            start = f"{_escaped(part)}:"
            whole.append(f"{start}{{{','.join(f'{name}:{form}' for name, form in members)}}}")
            any_row.append(f"{start}{{{','.join(f'{name}:%s' for name, _ in members)}}}")
        self._template, self._any_template = "{" + ",".join(whole) + "}", "{" + ",".join(any_row) + "}"
        self._coded = [(n, column.texts) for n, column in enumerate(self._columns) if column.is_coded]

    def _cells(self, values: Mapping[str, Any]) -> list[Any]:
        cells: list[Any] = []
        for part, names in self._shape:
            held = values.get(part)
            found = held if isinstance(held, dict) else {}
            cells += map(found.get, names)
        return cells

    def _quickly(self, row: int) -> str:
        """A row without nulls among its numbers, as text."""
        cells = [column.cells[row] for column in self._columns]
        for n, texts in self._coded:
            cells[n] = texts[cells[n]]
        return self._template % tuple(cells)

    def _spelled(self, row: int) -> str:
        """Any row of numbers and texts, as text."""
        return self._any_template % tuple([column.text(row) for column in self._columns])


_NOTHING = Vector()


def _escaped(name: str) -> str:
    return _dumps(name).replace("%", "%%")
