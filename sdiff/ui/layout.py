"""The page: what stands where, and which event calls what."""

from __future__ import annotations

import functools
import json
from typing import Any

import gradio as gr
from gradio.events import api as endpoint
from gradio.themes import Base, Color

from sdiff.config import HELP, Config
from sdiff.registry import ASSETS
from sdiff.ui import api, handlers, listing, opening
from sdiff.ui.controls import SLIDERS
from sdiff.ui.data_tab import data_tab
from sdiff.ui.experiments_tab import experiments_tab
from sdiff.ui.links import LONGEST, K
from sdiff.ui.state import INSTANT
from sdiff.ui.train_tab import train_tab

INTRO = (ASSETS / "intro.md").read_text(encoding="utf-8")
SCRIPT = (ASSETS / "app.js").read_text(encoding="utf-8")

# A button in a list tells which item it stands beside.
PRESSED = """element.addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-item]");
  if (button) trigger("click", { item: button.dataset.item });
})"""


def build() -> gr.Blocks:
    """The whole app, not yet launched."""
    with gr.Blocks(title="S-Diff", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as demo:
        gr.HTML(f'<header id="masthead"><h1>S-Diff</h1><p>{INTRO}</p></header>', padding=False)
        with gr.Row(elem_id="pickers", equal_height=True):
            dataset = gr.Dropdown(opening.choices([]), value="demo", label="Data set", scale=2, min_width=220)
            checkpoint = gr.Dropdown(
                handlers.models("demo"), label="Model", scale=2, min_width=220, elem_id="checkpoint"
            )
            user = gr.Textbox(label="User id", max_lines=1, scale=1, min_width=120, elem_id="user")
            with gr.Column(scale=2, min_width=260), gr.Row(elem_id="picks"):
                picks = {
                    pick: gr.Button(text, min_width=70)
                    for pick, text in (("random", "Random user"), ("heavy", "Heavy user"), ("light", "Light user"))
                }
        with gr.Row(elem_id="absent", visible=False) as absent:
            offer = gr.Markdown()
            fetch = gr.Button("Download", size="sm", scale=0, min_width=140)
        cards = gr.Markdown(elem_id="cards")
        with gr.Tabs():
            with gr.Tab("Recommend"), gr.Row(elem_id="view"):
                with gr.Column(scale=2, min_width=250, elem_id="controls"):
                    sliders = {name: _slider(name) for name in ("half_life", "guidance", "alpha_min", "sigma_max")}
                    with gr.Accordion("More settings", open=False):
                        sliders |= {name: _slider(name) for name in ("tau", "T")}
                        noise = gr.Checkbox(label="Sampling noise", info=HELP["noise"])
                        seed = gr.Number(0, label="Noise seed", precision=0, minimum=0, maximum=2**31 - 1)
                        k = gr.Slider(1, LONGEST, K, step=1, label="Length of the list K", elem_id="k", buttons=[])
                    with gr.Accordion("Only some items", open=False) as only:
                        genres = gr.Dropdown(
                            [], multiselect=True, label="Genres", info="any of these", elem_id="genres"
                        )
                        years = [
                            gr.Slider(1900, 2000, step=1, label=label, elem_id=id, buttons=[])
                            for id, label in (("first-year", "From year"), ("last-year", "To year"))
                        ]
                    changed = gr.Markdown(elem_id="changed")
                    reset = gr.Button("Reset to the checkpoint's values", size="sm")
                with gr.Column(scale=7, min_width=310):
                    summary = gr.Markdown(elem_id="summary")
                    with gr.Row(elem_id="lists"):
                        with gr.Column(scale=2, min_width=200):
                            add = gr.Textbox(
                                show_label=False,
                                label="Add an item to the history",
                                placeholder="What if? Add by title …",
                                max_lines=1,
                                container=False,
                                elem_id="add",
                            )
                            with gr.Row(elem_id="edits"):
                                restore = gr.Button("True history", size="sm", min_width=80, interactive=False)
                                empty = gr.Button("Empty", size="sm", min_width=80)
                            addable = gr.HTML(elem_id="addable", padding=False, js_on_load=PRESSED)
                            history = gr.HTML(elem_id="history", padding=False, js_on_load=PRESSED)
                        with gr.Column(scale=3, min_width=300):
                            recommended = gr.HTML(elem_id="recommended", padding=False, js_on_load=PRESSED)
                with gr.Column(scale=3, min_width=300, elem_id="plots"):
                    why = gr.HTML(elem_id="why", padding=False)
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
            with gr.Tab("Data"):
                own = data_tab(dataset)
            with gr.Tab("Experiments"):
                experiments_tab()
            with gr.Tab("Train"):
                trained = train_tab(dataset)

        settings = [*sliders.values(), noise, seed]
        address = gr.Textbox(visible=False)  # the query that brings one back to this list
        address.change(None, address, js="query => window.setAddress(query)")
        # What is on the page, to go back to when something else cannot be opened.
        opened = gr.State(("demo", INSTANT))
        edited = gr.State(None)  # a history instead of a user's own
        who = [opened, user, edited]
        asked = [*who, *settings, k, genres, *years]  # what a list depends on
        listed = [history, recommended, summary, changed, restore, why, address]
        spectrum = [snr_plot, snr_words, eigen_plot, eigen_words, energy_plot, energy_words, schedule_plot, map_plot]
        wanted = gr.State("")  # the data set that would have to be downloaded first
        uploaded = gr.BrowserState([], storage_key="sdiff-uploads", secret="sdiff")  # keys: whose browser, whose data

        # All lists of all sessions pass one queue in order, so that the last click is the last to be shown.
        in_order: dict[str, Any] = dict(concurrency_id="lists", concurrency_limit=1, api_visibility="private")
        quietly: dict[str, Any] = dict(show_progress="hidden", **in_order)

        def then_list(event: Any) -> Any:
            return event.success(listing.recommend, asked, listed, show_progress="minimal", **in_order)

        def then_plots(event: Any) -> None:
            event.success(listing.plots, [*who, *settings], spectrum, **quietly)

        def then_card(event: Any) -> Any:
            return event.success(opening.card, opened, own.card, **quietly)

        model = [opened, checkpoint, cards, *settings[:-1]]
        page = [dataset, user, wanted, absent, offer, only, genres, *years, *model]
        loaded = demo.load(opening.open_page, [opened, uploaded], [*page, seed, k, edited, uploaded], **quietly)
        selected = dataset.select(opening.open_dataset, [dataset, opened, uploaded], page, **quietly)
        download = fetch.click(
            opening.download,
            [wanted, opened, uploaded],
            page,
            concurrency_id="download",
            show_progress_on=[offer],
            api_visibility="private",
        )
        read = own.read.success(opening.open_own, [own.key, opened, uploaded], [uploaded, *page], **quietly)
        for event in (loaded, selected, download, read):
            then_card(event)
            then_plots(then_list(event))
        chosen = gr.on(
            [checkpoint.select, reset.click], opening.open_checkpoint, [dataset, checkpoint, opened], model, **quietly
        )
        then_plots(then_list(chosen))
        then_plots(then_list(trained.change(opening.use_trained, [dataset, trained, opened], model, **quietly)))
        for pick, button in picks.items():
            handler = functools.partial(listing.pick, pick)
            then_plots(button.click(handler, asked, [user, *listed], show_progress="minimal", **in_order))
        recommended.click(listing.why, [*who, *settings], why, show_progress="minimal", **in_order).then(
            None, js="() => document.querySelector('#why').scrollIntoView({ block: 'nearest', behavior: 'smooth' })"
        )
        add.change(
            listing.find,
            [opened, add],
            addable,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
        for press, change in (
            (history.click, listing.remove),
            (addable.click, listing.add),
            (empty.click, listing.empty),
            (restore.click, listing.restore),
        ):
            then_plots(press(change, asked, [edited, add, *listed], show_progress="minimal", **in_order))
        moved = gr.on(
            [
                *(slider.release for slider in (*sliders.values(), k, *years)),
                *(noise.input, genres.input, seed.submit, seed.blur, user.submit),
            ],
            listing.recommend,
            asked,
            listed,
            show_progress="minimal",
            trigger_mode="always_last",
            **in_order,
        )
        then_plots(moved)
        for function in api.ENDPOINTS:
            endpoint(function, api_name=function.__name__)
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
        mcp_server=True,
    )


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
