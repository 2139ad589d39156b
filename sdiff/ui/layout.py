"""The page: what stands where, and which control calls which handler."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import gradio as gr
import plotly.graph_objects as go
from gradio.themes import Base, Color

from sdiff.config import BOUNDS, HELP, Config
from sdiff.datasets import ASSETS, REGISTRY
from sdiff.errors import SDiffError
from sdiff.ui import figures, handlers, lists
from sdiff.ui.state import checkpoints
from sdiff.ui.train_tab import train_tab

INTRO = (ASSETS / "intro.md").read_text(encoding="utf-8")
# name -> (label, hint, range, step): what can be moved without training again, Section 3.2 and Algorithm 2
SLIDERS = {
    "guidance": ("Guidance s", "how strongly the list leans on this history", (0, 5), 0.01),
    "alpha_min": ("Signal floor α_min", "what even the highest frequency keeps", BOUNDS["alpha_min"], 0.01),
    "sigma_max": ("Noise ceiling σ_max", "the most noise that any frequency gets", BOUNDS["sigma_max"], 0.01),
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
            raise gr.Error(str(error), print_exception=False, title="That did not work") from None

    return run


def build() -> gr.Blocks:
    """The whole app, not yet launched."""
    with gr.Blocks(title="S-Diff", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as demo:
        gr.HTML(f'<header id="masthead"><h1>S-Diff</h1><p>{INTRO}</p></header>', padding=False)
        with gr.Row(elem_id="pickers", equal_height=True):
            dataset = gr.Dropdown(_datasets(), value="demo", label="Data set", scale=2, min_width=220)
            checkpoint = gr.Dropdown([], label="Checkpoint", scale=2, min_width=220, elem_id="checkpoint")
            user = gr.Textbox(label="User id", max_lines=1, scale=1, min_width=120, elem_id="user")
            with gr.Column(scale=2, min_width=260), gr.Row(elem_id="picks"):
                picks = {
                    pick: gr.Button(text, min_width=70)
                    for pick, text in (("random", "Random user"), ("heavy", "Heavy user"), ("light", "Light user"))
                }
        cards = gr.Markdown(elem_id="cards")
        with gr.Tabs():
            with gr.Tab("Recommend"), gr.Row():
                with gr.Column(scale=2, min_width=250, elem_id="controls"):
                    sliders = {name: _slider(name) for name in ("guidance", "alpha_min", "sigma_max")}
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
                with gr.Column(scale=3, min_width=300):
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
                    "brightest colour. VP is the method; VE and DDPM are the ablations of the paper's Table 3.",
                    elem_classes="words",
                )
            with gr.Tab("Train", id="train"):
                trained = train_tab(dataset)

        settings = [*sliders.values(), noise]
        who = [dataset, checkpoint, user]
        listing = [history, recommended, summary, changed]
        spectrum = [snr_plot, snr_words, eigen_plot, eigen_words, energy_plot, energy_words, schedule_plot, map_plot]
        opened = gr.State("demo")  # the data set on the page, to go back to when another cannot be opened

        def refreshed(event: Any) -> None:
            event.success(
                _recommend, [*who, *settings, k, seed], listing, show_progress="minimal", api_visibility="private"
            ).success(_spectrum, [*who, *settings, seed], spectrum, show_progress="hidden", api_visibility="private")

        def wire(triggers: list[Any], handler: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
            refreshed(gr.on(triggers, handler, inputs, outputs, show_progress="hidden", api_visibility="private"))

        wire(
            [demo.load, dataset.input],
            _open_dataset,
            [dataset, opened],
            [dataset, opened, checkpoint, user, cards, *settings],
        )
        wire([checkpoint.input, reset.click], _open_checkpoint, [dataset, checkpoint], [cards, *settings])
        wire([trained.change], _use_trained, [dataset, trained], [checkpoint, cards, *settings])
        for pick, button in picks.items():
            wire([button.click], functools.partial(_pick, pick), [dataset], [user])
        moved = [slider.release for slider in (*sliders.values(), k)]
        gr.on(
            [*moved, noise.input, seed.submit, seed.blur, user.submit],
            _recommend,
            [*who, *settings, k, seed],
            listing,
            show_progress="minimal",
            trigger_mode="always_last",
            api_name="recommend",
            api_description="A user's history and top-K list under the given settings, with titles.",
        ).success(_spectrum, [*who, *settings, seed], spectrum, show_progress="hidden", api_visibility="private")
    return demo


def launch(demo: gr.Blocks) -> None:
    """Serves the app on `$GRADIO_SERVER_NAME`:`$GRADIO_SERVER_PORT` (this machine alone, port 7860 on, by default)."""
    demo.queue(max_size=64, default_concurrency_limit=2).launch(
        theme=_theme(),
        css_paths=[ASSETS / "app.css"],
        footer_links=["api", "settings"],
        ssr_mode=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size="100mb",
    )


@guarded
def _open_dataset(dataset: str, before: str) -> tuple[Any, ...]:
    """Everything that follows from the data set; one whose files are missing leaves the page on the one before."""
    try:
        user = handlers.pick_user(dataset, "typical")
    except SDiffError as error:
        if dataset == before:
            raise
        gr.Warning(str(error), title="Not on this machine", duration=15)
        dataset = before
        user = handlers.pick_user(dataset, "typical")
    checkpoint = handlers.default_checkpoint(dataset)
    picker = gr.Dropdown(choices=list(checkpoints(dataset)), value=checkpoint, interactive=True)
    return dataset, dataset, picker, user, *_open_checkpoint(dataset, checkpoint)


@guarded
def _open_checkpoint(dataset: str, checkpoint: str | None) -> tuple[Any, ...]:
    """The cards of data set and model, and the controls at the checkpoint's values."""
    config = handlers.model_for(dataset, checkpoint).config if checkpoint else Config()
    cards = f"**Data** {handlers.data_card(dataset)}  \n**Model** {handlers.model_card(checkpoint)}"
    return cards, *(getattr(config, name) for name in SLIDERS), config.noise


@guarded
def _use_trained(dataset: str, trained: str | None) -> tuple[Any, ...]:
    """A model that was just trained here becomes the one on the page, if its data set still is."""
    names = checkpoints(dataset)
    checkpoint = trained if trained in names else handlers.default_checkpoint(dataset)
    return gr.Dropdown(choices=list(names), value=checkpoint), *_open_checkpoint(dataset, checkpoint)


@guarded
def _pick(pick: handlers.Pick, dataset: str) -> str:
    return handlers.pick_user(dataset, pick)


@guarded
def _recommend(
    dataset: str,
    checkpoint: str | None,
    user: str,
    guidance: float,
    alpha_min: float,
    sigma_max: float,
    tau: float,
    T: int,
    noise: bool,
    k: int,
    seed: int,
) -> tuple[str, str, str, str]:
    settings = dict(guidance=guidance, alpha_min=alpha_min, sigma_max=sigma_max, tau=tau, T=T, noise=noise)
    shown = handlers.recommend(dataset, checkpoint, user, settings, int(k), int(seed or 0))
    return (
        lists.history_table(shown.history),
        lists.recommended_table(shown.recommendations),
        shown.summary,
        shown.changed,
    )


@guarded
def _spectrum(
    dataset: str,
    checkpoint: str | None,
    user: str,
    guidance: float,
    alpha_min: float,
    sigma_max: float,
    tau: float,
    T: int,
    noise: bool,
    seed: int,
) -> tuple[go.Figure | str | None, ...]:
    if checkpoint is None:
        return None, "", None, "", None, "", None, None
    settings = dict(guidance=guidance, alpha_min=alpha_min, sigma_max=sigma_max, tau=tau, T=T, noise=noise)
    view = handlers.spectral_view(dataset, checkpoint, user, settings, int(seed or 0))
    return (
        figures.snr_by_frequency(view.lam, view.snr_at_tau, view.tau),
        view.words["snr"],
        figures.eigenvalues(view.lam),
        view.words["eigenvalues"],
        figures.band_energy(view.bands, *view.energy),
        view.words["energy"],
        figures.schedules(view.times, view.shown_lam.tolist(), view.schedules),
        figures.snr_maps(view.times, view.mapped, view.maps),
    )


def _datasets() -> list[tuple[str, str]]:
    return [(source.title + ("" if source.available else " (not here)"), key) for key, source in REGISTRY.items()]


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
