"""The form for a table of one's own, without a page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from sdiff.app.tabs.own_data import FILTERS, OwnData
from sdiff.app.uploads.mapping import LAYOUT
from tests.conftest import last


@cache
def built() -> OwnData:
    with gr.Blocks():
        return OwnData()


class Form:
    """The form for a table of one's own, filled in as the page would do."""

    def __init__(self) -> None:
        self.own = built()
        self.updates: dict[Any, Any] = {}
        fields = self.own.fields.values()
        self.values = {self.own.table: None, self.own.items: None}
        self.values |= {field: "" if field.value is None else field.value for field in fields}

    def drop(self, table: Path | None = None, items: Path | None = None) -> Form:
        for part, path, look in (
            (self.own.table, table, self.own._look_at_table),
            (self.own.items, items, self.own._look_at_items),
        ):
            if path:
                self.values[part] = str(path)
                self._update(look(self.values))
        return self

    def set(self, **options: Any) -> Form:
        """Edits fields one after the other, and looks at the files again as the page does after an edit."""
        for name, value in options.items():
            self.values[self.own.fields[name]] = value
            looks = {"timestamp": self.own._look_at_times, **dict.fromkeys(LAYOUT, self.own._look_at_layout)}
            looks |= {f"items_{layout}": self.own._look_at_items_layout for layout in LAYOUT}
            if name not in FILTERS:
                self._update(looks.get(name, self.own._look)(self.values))
        return self

    def _update(self, parts: dict[Any, Any]) -> None:
        for part, update in parts.items():
            if part in self.values:
                self.values[part] = getattr(update, "value", update)
        self.start, self.titles = parts.get(self.own.start, ""), parts.get(self.own.items_start, "")
        self.updates |= parts

    def __getitem__(self, name: str) -> Any:
        return self.values[self.own.fields[name]]

    def choices(self, name: str) -> list[tuple[str, str]]:
        return self.updates[self.own.fields[name]].choices

    def check(self) -> str:
        return last(self.own._check(self.values, SimpleNamespace(session_hash="one")))  # type: ignore[arg-type]

    def open(self) -> tuple[str, str]:
        """The key and the final message."""
        return last(self.own._open(self.values))[:2]
