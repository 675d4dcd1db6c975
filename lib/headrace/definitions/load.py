"""Definitions by name: built in, `package.module:name`, or `file.py:name`."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import linecache
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import CodeType, ModuleType

from headrace.definitions.definition import Definition
from headrace.errors import DefinitionError, nearest

BUILT_IN = {
    "segments": "headrace.definitions.segments:segments",
    "sales": "headrace.definitions.sales:sales",
}


def load_definition(name: str) -> Definition:
    """The definition of that name, its `origin` saying where it came from.

    name: a built-in name, `package.module:name` of an importable module, or `file.py:name`. A file is imported
    by itself under its stem, anew at each call; its folder does not become importable.
    Raises DefinitionError: unknown name, missing file or module, an error inside it (with its line), a missing
    attribute, one that is not a Definition, a name that is taken by a module or a built-in definition.
    """
    where, colon, attribute = BUILT_IN.get(name, name).partition(":")
    if not colon or not where or not attribute:
        raise _unknown(name)
    if where.endswith(".py"):
        path = Path(where).resolve()
        module, origin = _from_file(path), f"{path}:{attribute}"
    else:
        module, origin = _from_package(where), f"{where}:{attribute}"
    found = _attribute(module, attribute, where)
    if name not in BUILT_IN and found.name in BUILT_IN and origin != BUILT_IN[found.name]:
        raise DefinitionError(
            f"the name of the definition {name!r} is taken by a built-in definition",
            found=repr(found.name),
            do="give it another `name`: lake, registry and store keep what they hold by it",
        )
    return replace(found, origin=origin)


def file_module(origin: str) -> ModuleType | None:
    """The module of a definition that was loaded from a file, None for one that was not."""
    path = origin.rpartition(":")[0]
    module = sys.modules.get(Path(path).stem) if path.endswith(".py") else None
    return module if module is not None and module.__file__ == path else None


def ship_by_value(definition: Definition) -> None:
    """Have Spark send what a file defines to its executors with the tasks, since they cannot import the file."""
    module = file_module(definition.origin)
    if module is not None:
        from pyspark import cloudpickle

        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]


def source_of(module: ModuleType) -> str | None:
    """The source a module was imported from, None where there is none."""
    loader = getattr(module, "__loader__", None)
    if isinstance(loader, importlib.abc.InspectLoader):
        return loader.get_source(module.__name__)
    return "".join(linecache.getlines(module.__file__)) or None if module.__file__ else None


class _File(importlib.abc.InspectLoader):
    """Imports one text once read, so that what is archived is what was run even if the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Tolerates a byte-order mark and honours a coding line, as Python itself does.
        self._source = importlib.util.decode_source(path.read_bytes())

    def get_source(self, fullname: str) -> str:  # noqa: ARG002
        return self._source

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002
        return False

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        return self.source_to_code(self._source, str(self._path))


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise DefinitionError(f"there is no file {str(path)!r}", nearest=nearest(path.name, beside))
    name = path.stem
    if not name.isidentifier() or (name not in sys.modules and _hides_another(name, path)):
        raise _taken(path)
    before = sys.modules.get(name)
    if before is not None and getattr(before, "__file__", None) != str(path):
        raise _taken(path)
    try:
        spec = importlib.util.spec_from_loader(name, _File(path), origin=str(path))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise DefinitionError(f"the file {str(path)!r} cannot be read as Python", found=error) from error
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - spec_from_loader with a loader
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise _broken(str(path), error) from error
    return module


def _hides_another(name: str, path: Path) -> bool:
    """Whether `name` imports something else; the file itself, in a folder that is importable, is no other."""
    spec = importlib.util.find_spec(name)
    return spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path)


def _from_package(dotted: str) -> ModuleType:
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name and (dotted == error.name or dotted.startswith(f"{error.name}.")):
            raise DefinitionError(
                f"there is no module {dotted!r}",
                found=f"no {error.name!r} in this Python",
                do="install its package, or name the file: `file.py:name`",
            ) from error
        raise _broken(dotted, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(dotted, error) from error


def _attribute(module: ModuleType, attribute: str, where: str) -> Definition:
    found = getattr(module, attribute, None)
    if isinstance(found, Definition):
        return found
    others = [name for name, value in vars(module).items() if isinstance(value, Definition)]
    if found is None:
        raise DefinitionError(
            f"{where!r} has no {attribute!r}", found=others, expected="a Definition", nearest=nearest(attribute, others)
        )
    raise DefinitionError(
        f"{attribute!r} of {where!r} is not a definition",
        found=type(found).__name__,
        expected=f"a Definition, such as {others}" if others else "a Definition",
    )


def _unknown(name: str) -> DefinitionError:
    if name.endswith(".py"):
        return DefinitionError(f"{name!r} names no definition", do=f"name one in the file: `{name}:name`")
    return DefinitionError(
        f"there is no definition {name!r}",
        found=sorted(BUILT_IN),
        nearest=nearest(name, BUILT_IN),
        do="name one of these, `package.module:name` or `file.py:name`",
    )


def _taken(path: Path) -> DefinitionError:
    return DefinitionError(
        f"the file {str(path)!r} cannot be imported under its name",
        found=f"{path.stem!r}, which is no identifier or names another module",
        do="rename the file",
    )


def _broken(where: str, error: BaseException) -> DefinitionError:
    """What went wrong inside, and the line of the user's own code that it comes from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}: {(error.text or '').strip()}"
    else:
        own = [f for f in frames if f.filename == where] or [f for f in frames if f.filename != __file__]
        place = f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else where
    return DefinitionError(f"{where!r} cannot be imported", found=f"{type(error).__name__}: {error} at {place}")
