"""What a definition means as JSON, and the hash of it, so that a generation knows what it was trained by."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from headrace.algebra import Aggregate, from_description
from headrace.definitions.definition import Definition
from headrace.definitions.load import file_module, source_of
from headrace.errors import DefinitionError


def describe(definition: Definition) -> dict[str, Any]:
    """A JSON value of everything a definition means.

    Its own fields; the settings of its features (in order, as learners read them in order) and of its learner;
    `prepare` and `derive` by name; and `code`: module name -> source, without comments, docstrings and layout, of
    the modules that define these functions, and of the file a definition was loaded from.
    What such a module imports is not followed. `ast.unparse` makes the source, so hashes are compared within
    one minor version of Python.
    Raises DefinitionError for a function whose source, or a value it holds, cannot be archived.
    """
    code: dict[str, str] = {}
    prepare, derive = definition.prepare, definition.derive
    described: dict[str, Any] = {
        "name": definition.name,
        "entity": definition.entity,
        "event_time": definition.event_time,
        "event_id": definition.event_id,
        "zone": definition.zone,
        "max_age_s": definition.max_age.total_seconds() if definition.max_age is not None else None,
        "clock": {
            "kind": definition.clock.kind,
            "instant": definition.clock.instant.isoformat() if definition.clock.instant is not None else None,
        },
        "stream": {
            "name": definition.source.name,
            "schema": definition.source.schema.describe(),
            "history": definition.source.history.name if definition.source.history is not None else None,
            "payload": definition.source.payload,
            "payload_schemas": {str(id_): text for id_, text in sorted(definition.source.payload_schemas.items())},
        },
        "features": [{"name": name, "aggregate": f.describe()} for name, f in definition.features.items()],
        "learner": definition.learner.describe() if definition.learner is not None else None,
        "target": definition.target,
        "prepare": _function("prepare", prepare, code) if prepare is not None else None,
        "derive": {
            "fit": _function("derive.fit", derive.fit, code),
            "apply": _function("derive.apply", derive.apply, code),
            "outputs": list(derive.outputs),
        }
        if derive is not None
        else None,
    }
    if definition.gate is not None:
        # Left out without one: definitions of earlier generations keep their hash.
        described["gate"] = definition.gate.describe()
    if definition.training is not None:
        described["training"] = definition.training.to_json()
    own = file_module(definition.origin)
    if own is not None:
        _archive(own, code)
    return {**described, "code": dict(sorted(code.items()))}


def definition_sha256(definition: Definition) -> str:
    """The hash of `describe`: equal for equal meaning, whatever the comments, the layout and the origin."""
    return description_sha256(describe(definition))


def description_sha256(description: Mapping[str, Any]) -> str:
    """The same of an archived description."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def features_from(description: Mapping[str, Any]) -> dict[str, Aggregate]:
    """The features of an archived description, in their declared order."""
    return {feature["name"]: from_description(feature["aggregate"]) for feature in description["features"]}


def normalised(source: str) -> str:
    """Source without comments, docstrings and layout.

    >>> normalised('def f(x):  # doubles\\n    "Doubles."\\n    return (x *\\n        2)')
    'def f(x):\\n    return x * 2'
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
    return ast.unparse(tree)


def _function(role: str, function: Callable[..., Any], code: dict[str, str]) -> dict[str, Any]:
    """The name of a function and what it holds beside its module's source, which goes to `code`."""
    if isinstance(function, functools.partial):
        inner = _function(role, function.func, code)
        values = [*function.args, *(value for _, value in sorted(function.keywords.items()))]
        inner["holds"] += [sorted(function.keywords), *(_held(role, value, code) for value in values)]
        return inner
    if not isinstance(function, FunctionType):
        raise DefinitionError(
            f"{role} cannot be archived", found=type(function).__name__, expected="a function defined in a module"
        )
    module = sys.modules.get(function.__module__)
    if module is None:
        raise _without_source(role, function.__module__)
    _archive(module, code, role)
    held = [_held(role, cell.cell_contents, code) for cell in function.__closure__ or ()]
    return {"module": module.__name__, "function": function.__qualname__, "holds": held}


def _held(role: str, value: Any, code: dict[str, str]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_held(role, item, code) for item in value]
    if isinstance(value, Mapping):
        return [[_held(role, item, code) for item in pair] for pair in sorted(value.items())]
    if callable(value):
        return _function(role, value, code)
    raise DefinitionError(
        f"{role} holds a value that cannot be archived",
        found=type(value).__name__,
        expected="numbers, texts, functions, and lists or mappings of them",
        do="make it a constant of the module",
    )


def _archive(module: ModuleType, code: dict[str, str], role: str = "the definition") -> None:
    if module.__name__ not in code:
        source = source_of(module)
        if not source:
            raise _without_source(role, module.__name__)
        code[module.__name__] = normalised(source)


def _without_source(role: str, module: str) -> DefinitionError:
    return DefinitionError(
        f"{role} cannot be archived", found=f"no source of module {module!r}", do="define it in a file"
    )
