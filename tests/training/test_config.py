import json

import pytest

from sdiff.base.errors import SDiffError
from sdiff.config import FIELDS, HELP, INFERENCE_KEYS, PRESETS, Config, parse_assignments, preset


@pytest.mark.parametrize("config", [*PRESETS.values(), Config(K=7, fusion="concat", noise=False, lr=1e-3)])
def test_a_configuration_survives_json_and_the_command_line(config):
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    words = [f"{key}={value}" for key, value in config.to_dict().items()]
    assert Config().override(parse_assignments(words)) == config


@pytest.mark.parametrize("config", [*PRESETS.values(), Config(K=7, fusion="concat", noise=False, lr=1e-3)])
def test_the_repr_of_a_configuration_shows_what_differs_from_the_defaults(config):
    assert eval(repr(config)) == config and "\n" not in repr(config)
    changed = [f for f in FIELDS if getattr(config, f) != getattr(Config(), f)]
    assert repr(config).count("=") == len(changed)


def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    with pytest.raises(SDiffError, match="did you mean guidance"):
        Config().override({"gudance": 1})
    with pytest.raises(SDiffError, match="the keys are"):
        Config().override({"qqqq": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("K", 0), ("K", 1.5), ("K", "many"), ("K", True), ("sigma_max", 1.1), ("alpha_min", -0.1), ("tau", "nan"),
        ("guidance", float("inf")), ("schedule", "cosine"), ("noise", "maybe"), ("noise", 3), ("T", None),
    ],
)  # fmt: skip
def test_an_invalid_value_is_refused_with_its_key(key, value):
    with pytest.raises(SDiffError, match=f"^{key} must be"):
        Config().override({key: value})


def test_training_settings_cannot_be_changed_at_inference():
    assert PRESETS["paper"].at_inference({"guidance": "0.5", "T": 1}).guidance == 0.5
    with pytest.raises(SDiffError, match="hidden is fixed once a model is trained"):
        Config().at_inference({"hidden": 10})
    assert set(INFERENCE_KEYS) <= set(FIELDS) == set(HELP)


def test_the_paper_preset_has_the_settings_of_the_paper():
    paper = preset("paper")  # Sections 3.2, 3.3 and 4.1
    assert (paper.K, paper.T, paper.tau, paper.batch_size, paper.lr) == (200, 5, 1.0, 100, 1e-4)
    assert (paper.mask, paper.p_uncond, paper.guidance, paper.epochs) == (0.5, 0.02, 0.02, 1000)
    assert paper.schedule == "vp" and paper.fusion == "film"
    assert 0 <= paper.alpha_min <= 0.1 and 0.4 <= paper.sigma_max <= 0.5


@pytest.mark.parametrize("text", ["guidance", "=1", "guidance="])
def test_an_assignment_without_key_or_value_is_refused(text):
    with pytest.raises(SDiffError, match="key=value"):
        parse_assignments([text])


@pytest.mark.parametrize("twice", [["K=1", "K=2"], ["K=1", "T=3", "K=1"], ["K=1", " K =2"]])
def test_a_setting_given_twice_is_refused(twice):
    with pytest.raises(SDiffError, match="'K' is given more than once"):
        parse_assignments(twice)


def test_an_unknown_preset_is_refused():
    with pytest.raises(SDiffError, match="paper"):
        preset("papper")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "folds must be 0, or at least 2"),
        ({"folds": 5, "denoiser": "linear"}, "folds must be 0, or at least 2"),
        ({"ema": 0.9, "denoiser": "linear"}, "loss=softmax need denoiser=mlp"),
        ({"standardise": True, "denoiser": "linear"}, "loss=softmax need denoiser=mlp"),
        ({"loss": "softmax", "denoiser": "linear"}, "loss=softmax need denoiser=mlp"),
        ({"low_pass": 0.3}, "low_pass needs denoiser=filter"),
        ({"graph_log": True}, "graph_log needs graph_entries"),
        ({"denoiser": "filter"}, "denoiser=filter needs"),
        ({"denoiser": "filter", "graph_entries": 10}, "denoiser=filter needs"),
    ],
    ids=str,
)
def test_settings_that_would_have_no_effect_are_refused(settings, message):
    with pytest.raises(SDiffError, match=message):
        Config(**settings)


def test_noise_is_a_share_and_also_a_switch():
    assert [Config(noise=n).noise for n in (True, False, "on", "off", "0.25", 1)] == [1.0, 0.0, 1.0, 0.0, 0.25, 1.0]  # pyright: ignore[reportArgumentType]
    for wrong in ("maybe", 1.5, -0.1, None):
        with pytest.raises(SDiffError, match="noise must be"):
            Config(noise=wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("leak", "sampled"), [(True, 0.0), (False, 1.0)])
def test_a_configuration_of_the_version_before_is_read(leak, sampled):
    assert Config.from_dict({"leak": leak, "noise": False, "K": 50}) == Config(sampled=sampled, noise=0.0, K=50)
