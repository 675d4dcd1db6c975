"""The users' test kit: fixtures come with the pytest plugin, checks are imported from here.

Nothing is imported until it is used, because the plugin is loaded by every pytest run of an environment.

>>> from headrace.testing import assert_frames_close, assert_law, through
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.testing.frames import assert_frames_close
    from headrace.testing.law import assert_law
    from headrace.testing.streams import through

__all__ = ["assert_frames_close", "assert_law", "through"]

_ROOMS = {"assert_frames_close": "frames", "assert_law": "law", "through": "streams"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
