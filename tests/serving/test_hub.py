"""Model cards, and checkpoints on the Hugging Face Hub: a folder on this machine stands in for it."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdiff import Recommender, SDiffError, Trainer
from sdiff.base.paths import CHECKPOINTS
from sdiff.cli.main import parser
from sdiff.config import Config, parse_assignments, preset
from sdiff.data.registry import REGISTRY
from sdiff.serving.model_card import command, model_card
from sdiff.training.checkpoint import Checkpoint
from tests.conftest import CPU, same

huggingface_hub = pytest.importorskip("huggingface_hub")
FOLDERS = sorted(config.parent for config in CHECKPOINTS.glob("*/config.json"))
LOG = "/home/someone/secret/log.csv"


class FakeHub:
    """The three calls that the package makes. Their parameters are checked against the real ones."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, []

    def create_repo(self, repo_id, *, private=None, exist_ok=False):
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        self.calls.append(("private", private))
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, *, repo_id, folder_path, commit_message, delete_patterns):
        folder, added = self.root / repo_id, {path.name for path in Path(folder_path).iterdir()}
        for old in folder.iterdir():
            if fnmatch(old.name, delete_patterns) and old.name not in added:
                old.unlink()
        shutil.copytree(folder_path, folder, dirs_exist_ok=True)

    def snapshot_download(self, name, *, revision=None, token=None, allow_patterns):
        if not (self.root / name).is_dir():
            raise ConnectionError(f"no {name}\n\nat {revision}")
        self.calls.append((revision, token))
        wanted = self.root / "cache" / name
        shutil.copytree(
            self.root / name,
            wanted,
            ignore=lambda _, files: [f for f in files if not any(fnmatch(f, p) for p in allow_patterns)],
            dirs_exist_ok=True,
        )
        return str(wanted)


def checked(name, fake):
    """A call of the fake Hub that refuses parameters which the real one does not have."""
    signature = inspect.signature(getattr(huggingface_hub, name))
    return lambda *args, **options: signature.bind(*args, **options) and getattr(fake, name)(*args, **options)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path / "hub")
    api = SimpleNamespace(**{name: checked(name, fake) for name in ("create_repo", "upload_folder")})
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token=None: fake.calls.append(("token", token)) or api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", checked("snapshot_download", fake))
    return fake


@pytest.fixture(scope="module")
def model(split):
    trainer = Trainer(preset("instant").override({"K": 8}), split, 3, CPU).fit()
    checkpoint = trainer.checkpoint(f"{LOG}?items=/home/someone/titles.csv", "instant")
    metrics = {
        "dataset": "/home/someone/secret/log.csv",
        "command": "sdiff train --dataset /home/someone/secret/log.csv",
    }
    return Recommender(replace(checkpoint, metrics=checkpoint.metrics | metrics), CPU)


def test_what_is_pushed_comes_back_equal(model, fake):
    assert model.push_to_hub("me/tastes", private=True, token="t") == "https://huggingface.co/me/tastes"
    again = Recommender.from_pretrained("me/tastes", "cpu", revision="v1", token="t")
    assert again.checkpoint.fingerprint == model.checkpoint.fingerprint
    assert same(again.checkpoint.weights, model.checkpoint.weights) and again.config == model.config
    assert again.recommend(["i1", "i2"], 5) == model.recommend(["i1", "i2"], 5)
    assert fake.calls == [("token", "t"), ("private", True), ("v1", "t")]


def test_a_second_push_replaces_the_weights(model, fake, split):
    model.push_to_hub("me/tastes")
    other = Recommender(Trainer(preset("instant").override({"K": 5}), split, 0, CPU).fit().checkpoint("x", "instant"))
    other.push_to_hub("me/tastes")
    assert Recommender.from_pretrained("me/tastes").checkpoint.fingerprint == other.checkpoint.fingerprint
    assert len([*(fake.root / "me" / "tastes").glob("*.safetensors")]) == 1


def test_no_path_of_this_machine_is_pushed(model, fake):
    model.push_to_hub("me/tastes")
    for path in (fake.root / "me" / "tastes").iterdir():
        text = path.read_bytes().decode("utf-8", errors="replace")
        assert "someone" not in text and "secret" not in text, path.name
    assert Recommender.from_pretrained("me/tastes").checkpoint.provenance.dataset == "log.csv"


def test_a_card_names_the_licence_that_is_given(model, fake):
    model.push_to_hub("me/tastes", license="mit")
    card = huggingface_hub.ModelCard((fake.root / "me" / "tastes" / "README.md").read_text(encoding="utf-8"))
    assert card.data.license == "mit" and 'Recommender.from_pretrained("me/tastes")' in card.text


def test_from_pretrained_loads_a_local_folder(model, fake, tmp_path):
    model.save(tmp_path / "mine")
    assert Recommender.from_pretrained(tmp_path / "mine").checkpoint.fingerprint == model.checkpoint.fingerprint
    assert not fake.calls


def test_a_failure_of_the_hub_is_one_sentence(fake):
    with pytest.raises(SDiffError, match=r"Cannot load me/nothing from the Hub: no me/nothing at None"):
        Recommender.from_pretrained("me/nothing")


def test_without_the_library_the_error_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: model.push_to_hub("me/x"), lambda: Recommender.from_pretrained("me/x")):
        with pytest.raises(SDiffError, match="pip install huggingface_hub"):
            call()
    with pytest.raises(SDiffError, match="pip install huggingface_hub"):
        model_card(model.checkpoint, "")


def test_included_checkpoints_carry_their_model_card():
    from benchmarks.cards import cards

    found = dict(cards())
    assert {path.parent for path in found} == {*FOLDERS}
    for path, text in found.items():
        written, made = (huggingface_hub.ModelCard(t) for t in (path.read_text(encoding="utf-8"), text))
        same_card = (written.data.to_dict(), written.text) == (made.data.to_dict(), made.text)
        assert same_card, f"{path}: run python -m benchmarks.cards"


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in CHECKPOINTS.glob("*/config.json")), ids=lambda p: p.name
)
def test_a_card_states_the_terms_of_its_data(folder):
    card = huggingface_hub.ModelCard((folder / "README.md").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text())
    source = REGISTRY[config["provenance"]["dataset"]]
    assert source.terms in card.text
    if source.key == "demo":
        assert card.data.license == "apache-2.0"
    else:
        assert card.data.license == "other" and card.data.license_link.startswith("https://grouplens.org/")
        assert "Apache licence of S-Diff covers the code, not this model" in card.text


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in CHECKPOINTS.glob("*/config.json")), ids=lambda p: p.name
)
def test_the_command_of_a_card_gives_the_configuration_of_the_checkpoint(folder):
    checkpoint = Checkpoint.load(folder)
    arguments = parser().parse_args(command(checkpoint).split()[1:])
    assert preset(arguments.preset).override(parse_assignments(arguments.set)) == checkpoint.config
    assert (arguments.dataset, arguments.seed) == (checkpoint.provenance.dataset, checkpoint.provenance.seed)
    for other in ({"preset": ""}, {"trained": {"half_life": 0}}):  # not trained by one command
        assert command(replace(checkpoint, provenance=replace(checkpoint.provenance, **other))) == ""
    assert Config() == preset("paper")
