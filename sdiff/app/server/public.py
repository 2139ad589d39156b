"""Error messages for visitors, without the paths of this machine."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from sdiff.app.server import journal
from sdiff.base.errors import SDiffError
from sdiff.base.paths import HOME, cache_dir, data_dir, runs_dir

NAME = r"[^\s/:;,()'\"]*"  # one component of a path
PATH = rf"(?<![\w:/.<])(?:/{NAME})+"  # an absolute path; not the path of a URL, which follows a colon


def public_message(error: SDiffError) -> str:
    """The message of an error, with paths reduced to file names.

    The log line of the current event gets the function that raised it.
    """
    text = str(error)
    folders = [Path(tempfile.gettempdir()), data_dir(), runs_dir(), cache_dir(), HOME, Path.home()]
    for folder in sorted({str(path) for each in folders for path in (each, each.resolve())}, key=len, reverse=True):
        text = re.sub(rf"{re.escape(folder)}((?:/{NAME})*)", lambda match: _name(match[1]) or "its folder", text)
    text = re.sub(PATH, lambda match: _name(match[0]) or match[0], text)
    journal.note(refused=journal.raised_in(error))
    return text


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
