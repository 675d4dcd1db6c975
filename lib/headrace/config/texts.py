"""Texts that somebody wrote into a file: settings, queries, parts, schemas."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import InputError


def text_of(path: Path, what: str) -> str:
    """The text of a file, `what` it holds being told where it cannot be read.

    Raises InputError for a file that is not there, may not be read, or is no text in UTF-8.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read", found=error.strerror, do="name another file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} {path} cannot be read", found=str(error), expected="text in UTF-8", do="name another file"
        ) from error
