"""Progress of long work, as HTML: opening a data set, and training models. Texts are escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from sdiff.app.labels import RECALL
from sdiff.app.views import tables
from sdiff.training.trainer import Progress

if TYPE_CHECKING:
    from sdiff.app.handlers.openings import Stage

KEPT = "The model that is open stays open until you choose the new one."
NO_ESTIMATE = "no estimate yet"


def opening_bar(stage: Stage) -> str:
    """A progress bar for a data set that is being opened."""
    bar = f'<progress max="{stage.of}" value="{stage.number + 0.5}"></progress>'
    return f"{bar} {stage.words} … {stage.seconds:.0f} s"


def waiting(others: int | None, seconds: float = 0, left: float | None = None) -> str:
    """A run that waits for others.

    Args:
        others: number of runs before it; None if it is not known yet.
        seconds: how long it has waited.
        left: seconds until it starts, if all others have an estimate.
    """
    before = "" if others is None else " one other run" if others == 1 else f" {others} other runs"
    before += " will be trained before this one." if before else ""
    expected = NO_ESTIMATE if left is None else f"starts within {_clock(left, down=True)}"
    return _status(f"<b>Waiting in line{':' if before else ''}</b>{before}", seconds, expected)


def preparing(title: str, left: float | None) -> str:
    """A run before its first epoch, on the data set of this title. `left`: seconds to go, if they are known."""
    return _status(f"<b>Preparing:</b> the spectrum of {escape(title)}, then the first epoch.", 0, _to_go(left))


def training(title: str, progress: Progress, seconds: float, left: float | None) -> str:
    """A run after an epoch, `seconds` after it began."""
    best = "not validated yet"
    if progress.best is not None:
        best = f"best validation recall@20 {progress.best:.4f} at epoch {progress.best_epoch}"
    doing = f"epoch {progress.epoch} of at most {progress.epochs} · loss {progress.loss:.5f} · {best}"
    return _status(f"<b>Training</b> on {escape(title)}: {doing}", seconds, _to_go(left))


def trying(title: str, label: str, number: int, of: int, doing: str, seconds: float, left: float | None) -> str:
    """A choice between models: number `number` of them is being trained."""
    trial = f"<b>Trying model {number} of {of}</b> on {escape(title)} · {escape(label)} · {escape(doing)}"
    return _status(trial, seconds, _to_go(left))


def trained(how: str, epochs: int, title: str, seconds: float, best_epoch: int, name: str, why: str) -> str:
    """A run that has ended.

    Args:
        how: such as "Stopped".
        name: that of the model.
        why: the reason, if it failed.
    """
    return (
        f"<p>{how} after {epochs} epoch{'s'[: epochs != 1]} on {escape(title)} in {duration(seconds)}. The weights of "
        f"epoch {best_epoch} are saved as <b>{escape(name)}</b>. {KEPT}{escape(f' {why}' if why else '')}</p>"
    )


def chosen(how: str, title: str, seconds: float, label: str, name: str) -> str:
    """A choice between models that has ended: the best one has this label, and is saved under this name."""
    return (
        f"<p>{how} on {escape(title)} after {duration(seconds)}. Best on validation is <b>{escape(label)}</b>, which "
        f"is saved as <b>{escape(name)}</b>. {KEPT}</p>"
    )


def result(valid: float | None, popularity: float | None) -> str:
    """Validation recall@20 of a model and of popularity; empty if nothing was validated."""
    if valid is None or popularity is None:
        return ""
    return (
        f'<p class="result"><b>recall@20 {valid:.3f} on validation, against {popularity:.3f} for popularity</b>. '
        f"Recall@20 is the {RECALL}.</p>"
    )


def tried(cells: Sequence[Sequence[str]]) -> str:
    """Table of the models that were tried: label, recall@20, what was chosen, and time. Empty if there are none."""
    if not cells:
        return ""
    return tables.plain_table("Models tried", ["Model", "recall@20", "Chosen on validation", "Time"], cells)


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _status(doing: str, seconds: float, expected: str) -> str:
    """What is being done, for how many seconds, and how long it is expected to take."""
    return f'<p>{doing}</p><p class="clock">{_clock(seconds)} so far · {expected}</p>'


def _clock(seconds: float, down: bool = False) -> str:
    """A duration that the page's script counts up or down."""
    return f'<time data-seconds="{seconds:.1f}"{" data-down" * down}>{duration(seconds)}</time>'


def _to_go(left: float | None) -> str:
    if left is None:
        return "the first epoch will show how long it takes"
    return f"up to {_clock(left, down=True)} to go"
