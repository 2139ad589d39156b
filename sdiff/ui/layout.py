"""The page: what stands where, and which control calls which handler."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr
from gradio.events import api as endpoint
from gradio.themes import Base, Color

from sdiff.config import BOUNDS, HELP, Config
from sdiff.errors import SDiffError
from sdiff.registry import ASSETS, REGISTRY
from sdiff.ui import api, figures, handlers, lists
from sdiff.ui.experiments_tab import experiments_tab
from sdiff.ui.state import INSTANT, serve
from sdiff.ui.train_tab import train_tab

INTRO = (ASSETS / "intro.md").read_text(encoding="utf-8")
SCRIPT = (ASSETS / "app.js").read_text(encoding="utf-8")
# name -> (label, hint, range, step): what can be moved without training again, Section 3.2 and Algorithm 2
SLIDERS = {
    "half_life": (
        "Recency half-life h",
        "items back from the newest that halve the weight; 0: all alike",
        (0, 20),
        0.1,
    ),
    "guidance": ("Guidance s", "how strongly the list leans on this history", (0, 5), 0.01),
    "alpha_min": ("Signal floor αₘᵢₙ", "what even the highest frequency keeps", BOUNDS["alpha_min"], 0.01),
    "sigma_max": ("Noise ceiling σₘₐₓ", "the most noise that any frequency gets", BOUNDS["sigma_max"], 0.01),
    "tau": ("Diffusion time τ", "how far the history is smoothed along the graph", (0.1, 3), 0.1),
    "T": ("Reverse steps T", "how many times it is denoised", (1, 20), 1),
}


def guarded(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose SDiffError becomes a message on the page; everything on it stays as it was."""

    @functools.wraps(handler)
    def run(*values: Any) -> Any:
        try:
            return handler(*values)
        except SDiffError as error:
            gr.Warning(escape(str(error)), duration=15)
            return gr.skip()

    return run


def build() -> gr.Blocks:
    """The whole app, not yet launched."""
    with gr.Blocks(title="S-Diff", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as demo:
        gr.HTML(f'<header id="masthead"><h1>S-Diff</h1><p>{INTRO}</p></header>', padding=False)
        with gr.Row(elem_id="pickers", equal_height=True):
            dataset = gr.Dropdown(_datasets(), value="demo", label="Data set", scale=2, min_width=220)
            checkpoint = gr.Dropdown(
                handlers.models("demo"), label="Model", scale=2, min_width=220, elem_id="checkpoint"
            )
            user = gr.Textbox(label="User id", max_lines=1, scale=1, min_width=120, elem_id="user")
            with gr.Column(scale=2, min_width=260), gr.Row(elem_id="picks"):
                picks = {
                    pick: gr.Button(text, min_width=70)
                    for pick, text in (("random", "Random user"), ("heavy", "Heavy user"), ("light", "Light user"))
                }
        cards = gr.Markdown(elem_id="cards")
        with gr.Tabs():
            with gr.Tab("Recommend"), gr.Row(elem_id="view"):
                with gr.Column(scale=2, min_width=250, elem_id="controls"):
                    sliders = {name: _slider(name) for name in ("half_life", "guidance", "alpha_min", "sigma_max")}
                    with gr.Accordion("More settings", open=False):
                        sliders |= {name: _slider(name) for name in ("tau", "T")}
                        noise = gr.Checkbox(label="Sampling noise", info=HELP["noise"])
                        seed = gr.Number(0, label="Noise seed", precision=0, minimum=0, maximum=2**31 - 1)
                        k = gr.Slider(1, 100, 20, step=1, label="Length of the list K", elem_id="k", buttons=[])
                    changed = gr.Markdown(elem_id="changed")
                    reset = gr.Button("Reset to the checkpoint's values", size="sm")
                with gr.Column(scale=7, min_width=310):
                    summary = gr.Markdown(elem_id="summary")
                    with gr.Row(elem_id="lists"):
                        with gr.Column(scale=2, min_width=200):
                            history = gr.HTML(elem_id="history", padding=False)
                        with gr.Column(scale=3, min_width=300):
                            recommended = gr.HTML(elem_id="recommended", padding=False)
                with gr.Column(scale=3, min_width=300, elem_id="plots"):
                    gr.Markdown("#### Signal to noise by frequency")
                    snr_plot = gr.Plot(show_label=False, elem_id="snr", container=False)
                    snr_words = gr.Markdown(elem_classes="words")
                    gr.Markdown("#### This user's energy by frequency")
                    energy_plot = gr.Plot(show_label=False, elem_id="energy", container=False)
                    energy_words = gr.Markdown(elem_classes="words")
            with gr.Tab("Spectrum"):
                gr.Markdown("### Eigenvalues of the item graph")
                eigen_plot = gr.Plot(show_label=False, elem_id="eigenvalues")
                eigen_words = gr.Markdown(elem_classes="words")
                gr.Markdown("### Signal α and noise σ over time, for low to high frequencies")
                schedule_plot = gr.Plot(show_label=False, elem_id="schedules")
                gr.Markdown("### Signal-to-noise ratio over time and frequency")
                map_plot = gr.Plot(show_label=False, elem_id="maps")
                gr.Markdown(
                    "SNR = α² / σ². Where no noise comes (t = 0, or λ = 0 under VP) it is infinite and drawn as the "
                    "brightest colour. VP is the method; VE and DDPM are the ablations of the paper's Table 3. "
                    "VE keeps VP's α and lets σ grow with time alone; under DDPM all frequencies share one curve.",
                    elem_classes="words",
                )
            with gr.Tab("Experiments"):
                experiments_tab()
            with gr.Tab("Train"):
                trained = train_tab(dataset)

        settings = [*sliders.values(), noise, seed]
        who = [dataset, checkpoint, user]
        listing = [history, recommended, summary, changed]
        spectrum = [snr_plot, snr_words, eigen_plot, eigen_words, energy_plot, energy_words, schedule_plot, map_plot]
        # What is on the page, to go back to when something else cannot be opened.
        opened = gr.State(("demo", INSTANT))

        # All lists of all sessions pass one queue in order, so that the last click is the last to be shown.
        in_order: dict[str, Any] = dict(concurrency_id="lists", concurrency_limit=1, api_visibility="private")
        quietly: dict[str, Any] = dict(show_progress="hidden", **in_order)

        def then_list(event: Any) -> Any:
            return event.success(_recommend, [*who, *settings, k], listing, show_progress="minimal", **in_order)

        def then_plots(event: Any) -> None:
            event.success(_spectrum, [*who, *settings], spectrum, **quietly)

        model = [opened, checkpoint, cards, *settings[:-1]]
        opening = gr.on(
            [demo.load, dataset.select], _open_dataset, [dataset, opened], [dataset, user, *model], **quietly
        )
        then_plots(then_list(opening))
        chosen = gr.on(
            [checkpoint.select, reset.click], _open_checkpoint, [dataset, checkpoint, opened], model, **quietly
        )
        then_plots(then_list(chosen))
        then_plots(then_list(trained.change(_use_trained, [dataset, trained, opened], model, **quietly)))
        for pick, button in picks.items():
            handler = functools.partial(_pick, pick)
            then_plots(
                button.click(handler, [*who, *settings, k], [user, *listing], show_progress="minimal", **in_order)
            )
        moved = gr.on(
            [*(slider.release for slider in (*sliders.values(), k)), noise.input, seed.submit, seed.blur, user.submit],
            _recommend,
            [*who, *settings, k],
            listing,
            show_progress="minimal",
            trigger_mode="always_last",
            **in_order,
        )
        then_plots(moved)
        endpoint(api.recommend, api_name="recommend")
    return demo


def launch(demo: gr.Blocks) -> None:
    """Serves the app on `$GRADIO_SERVER_NAME`:`$GRADIO_SERVER_PORT` (this machine alone, port 7860 on, by default)."""
    demo.queue(max_size=64, default_concurrency_limit=2).launch(
        theme=_theme(),
        css_paths=[ASSETS / "app.css"],
        head=f"<script>{SCRIPT}</script>",
        footer_links=["api", "settings"],
        ssr_mode=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size="100mb",
    )


@guarded
def _open_dataset(dataset: str, opened: tuple[str, str]) -> tuple[Any, ...]:
    """Everything that follows from the data set; one whose files are missing leaves the page on the one before."""
    try:
        user = handlers.pick_user(dataset, "typical")
    except SDiffError as error:
        if dataset == opened[0]:
            raise
        gr.Warning(escape(str(error)), duration=15)
        return opened[0], *[gr.skip()] * (5 + len(SLIDERS))
    return dataset, user, *_open_checkpoint(dataset, handlers.models(dataset)[0], (dataset, INSTANT))


def _open_checkpoint(dataset: str, checkpoint: str, opened: tuple[str, str]) -> tuple[Any, ...]:
    """The cards of data set and model, and the controls at the checkpoint's values; a damaged one is not kept."""
    try:
        config = serve(dataset, checkpoint)[1].config
    except SDiffError as error:
        gr.Warning(escape(str(error)), duration=15)
        checkpoint = opened[1]
        config = serve(dataset, checkpoint)[1].config
    cards = f"**Data** {handlers.data_card(dataset)}  \n**Model** {handlers.model_card(dataset, checkpoint)}"
    picker = gr.Dropdown(choices=handlers.models(dataset), value=checkpoint)
    recency, *values = (getattr(config, name) for name in SLIDERS)
    sliders = gr.Slider(value=recency, visible=recency > 0), *values  # a model that ignores the order has no memory
    return (dataset, checkpoint), picker, cards, *sliders, config.noise


@guarded
def _use_trained(dataset: str, trained: str, opened: tuple[str, str]) -> tuple[Any, ...]:
    """A model that was just trained here becomes the one on the page, if its data set still is."""
    return _open_checkpoint(dataset, trained if trained in handlers.models(dataset) else opened[1], opened)


@guarded
def _pick(pick: handlers.Pick, dataset: str, checkpoint: str, user: str, *settings: Any) -> tuple[Any, ...]:
    """Another user and the list in one answer, so that the two always belong together."""
    picked = handlers.pick_user(dataset, pick)
    return picked, *_listing(dataset, checkpoint, picked, *settings)


def _listing(dataset: str, checkpoint: str, user: str, *settings: Any) -> tuple[str, str, str, str]:
    *values, seed, k = settings
    shown = handlers.recommend(dataset, checkpoint, user, _named(values), int(k), int(seed or 0))
    recommended = lists.recommended_table(shown.recommendations)
    return lists.history_table(shown.history), recommended, shown.summary, shown.changed


_recommend = guarded(_listing)


def _spectrum(dataset: str, checkpoint: str, user: str, *settings: Any) -> tuple[Any, ...]:
    *values, seed = settings
    try:
        view = handlers.spectral_view(dataset, checkpoint, user, _named(values), int(seed or 0))
    except SDiffError:  # the list has said so
        return (gr.skip(),) * 8
    plots = (
        figures.snr_by_frequency(view.lam, view.snr_at_tau, view.tau),
        figures.eigenvalues(view.lam),
        figures.band_energy(view.bands, *view.energy),
        figures.schedules(view.times, view.shown_lam.tolist(), view.schedules),
        figures.snr_maps(view.times, view.mapped, view.maps),
    )
    snr, eigen, energy, *rest = plots
    words = view.words
    return snr, words["snr"], eigen, words["eigenvalues"], energy, words["energy"], *rest


def _named(values: list[Any]) -> dict[str, Any]:
    return dict(zip((*SLIDERS, "noise"), values, strict=True))


def _datasets() -> list[tuple[str, str]]:
    return [(source.title + (" (not here)" if source.missing else ""), key) for key, source in REGISTRY.items()]


def _slider(name: str) -> gr.Slider:
    label, hint, (low, high), step = SLIDERS[name]
    value = getattr(Config(), name)
    return gr.Slider(low, high, value, step=step, label=label, info=hint, elem_id=name, buttons=[])


def _theme() -> Base:
    """Our palette on gradio's plain theme, with the fonts that the machine has: the page asks no server for any."""
    palette = json.loads((ASSETS / "palette.json").read_text(encoding="utf-8"))
    accent, neutral = (Color(*palette[name], name=name) for name in ("accent", "neutral"))
    theme = Base(
        primary_hue=accent,
        secondary_hue=accent,
        neutral_hue=neutral,
        text_size="md",
        spacing_size="sm",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    return theme.set(  # gradio's own values are too pale on white, or too dark on black, to be read
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
    )
