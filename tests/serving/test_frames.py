import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sdiff import Recommender, SDiffError, preset
from sdiff.data.frames import Form, read_frame
from sdiff.data.interactions import Split
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import Reading
from sdiff.data.report import FaultyRows
from sdiff.evaluation.evaluate import evaluate
from sdiff.serving import frames
from sdiff.training.trainer import Trainer
from sdiff.training.update import update
from tests.conftest import CPU, SMALL

KINDS = {
    "pandas": lambda table: table,
    "polars": lambda table: importlib.import_module("polars").DataFrame(lists(table)),
    "pyarrow": lambda table: importlib.import_module("pyarrow").Table.from_pydict(lists(table)),
}


def lists(table):
    """The columns of a pandas frame, with None for missing values, which pandas may have turned into nan."""
    columns = table.to_dict("list").items()
    return {name: [None if value is pd.NA or value != value else value for value in values] for name, values in columns}


@pytest.fixture(params=KINDS)
def kind(request):
    """Makes a frame of a library from a pandas frame."""
    pytest.importorskip(request.param)
    return KINDS[request.param]


def plain(frame):
    """The columns of any frame as lists."""
    return (
        frame.to_dict("list")
        if isinstance(frame, pd.DataFrame)
        else frame.to_dict(as_series=False)
        if hasattr(frame, "with_columns")
        else frame.to_pydict()
    )


def frame_of(interactions, **names):
    """Interactions with whole numbers as ids."""
    user, item = (
        [int(vocabulary.ids[i][1:]) for i in index]
        for vocabulary, index in ((interactions.users, interactions.rows), (interactions.items, interactions.indices))
    )
    return pd.DataFrame({"user_id": user, "item_id": item, "timestamp": interactions.timestamps}).rename(columns=names)


@pytest.fixture(scope="module")
def numbered(split):
    """`split`, with ids such as 7 instead of i7, as frames."""
    return frame_of(split.train), frame_of(split.test)


@pytest.fixture(scope="module")
def titles():
    return pd.DataFrame({"item_id": range(29), "title": [f"Film {i} (1999)" for i in range(29)]})  # 29 has none


@pytest.fixture(scope="module")
def model(numbered, titles, tmp_path_factory):
    """A model whose estimate is the mean of v_t and the condition, with histories and titles."""
    train, _ = numbered
    read, *_ = read_frame(train)
    nothing = read.empty
    config = SMALL.override({"residual": True, "noise": False})
    folder = tmp_path_factory.mktemp("model")
    Trainer(config, Split(read, nothing, nothing), 0, CPU).checkpoint("frame", "paper").save(folder)
    return Recommender.load(folder, CPU, interactions=train, items=titles)


ROWS = pd.DataFrame(
    {
        "User": [3, 1, 1, 2, 3, 3, 1],
        "item_id": ["b", " a", "é", "b", "a", "é", "b"],
        "rating": [4.0, 5.0, 1.5, 3.0, 5.0, 4.0, 5.0],
        "ts": [50, 20, 10, 40, 60, 70, 30],
    }
)


@pytest.mark.parametrize("options", [{}, {"min_rating": 3}, {"core": 2}, {"timestamp": "-"}], ids=str)
def test_a_frame_is_read_like_a_file_with_the_same_rows(kind, options, tmp_path):
    path = tmp_path / "rows.csv"
    ROWS.to_csv(path, index=False)
    reading = Reading(user="user", **options)
    wanted, _ = read_interactions(path, reading)
    found, form, *_ = read_frame(kind(ROWS), reading)
    assert found.fingerprint == wanted.fingerprint and found.ordered == wanted.ordered
    if wanted.timestamps is not None:
        assert found.timestamps is not None and found.timestamps.tolist() == wanted.timestamps.tolist()
    assert (form.user, form.item) == ("User", "item_id")


def test_times_may_be_dates_with_and_without_a_zone(kind):
    rows = pd.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "seconds": [86400.5, 0.0, 3600.0]})
    wanted = read_frame(kind(rows), Reading(timestamp="seconds"))[0]
    naive = pd.to_datetime(rows["seconds"], unit="s")
    for times in (naive, naive.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")):
        found = read_frame(kind(rows.assign(datetime=list(times))))[0]
        assert found.fingerprint == wanted.fingerprint
        assert found.timestamps.tolist() == wanted.timestamps.tolist() == [0.0, 3600.0, 86400.5]


def test_invalid_rows_of_a_frame_are_counted_and_named_or_skipped(kind):
    rows = pd.DataFrame({"user": ["u", None, "v", "w"], "item": ["1", "2", "", "4"], "rating": ["5", "5", "5", "good"]})
    with pytest.raises(
        FaultyRows, match=r"^The data frame: 3 of 4 rows are invalid: row 2: user is empty; row 3: item"
    ) as e:
        read_frame(kind(rows), Reading(min_rating=1))
    assert [fault.row for fault in e.value.faults.first] == [2, 3, 4]
    assert read_frame(kind(rows), Reading(skip_faulty=True, min_rating=1))[0].users.ids == ("u",)


def test_a_missing_id_does_not_turn_the_other_whole_numbers_into_decimals(kind):
    rows = pd.DataFrame({"user": [1, 2, 3], "item": [10, None, 2**53]}, dtype="Int64")
    for frame in (kind(rows), rows.astype({"item": "float64"})):
        found, *_ = read_frame(frame, Reading(skip_faulty=True))
        assert found.users.ids == ("1", "3") and found.items.ids == ("10", str(2**53))


@pytest.mark.parametrize(
    ("columns", "options", "ordered"),
    [
        (("user_id", "item_id", "weight", "datetime"), {}, True),  # RecTools
        (("user_id", "item_id", "rating", "timestamp"), {}, True),  # LensKit
        (("visitor", "sku", "x", "y"), {"user": "visitor", "item": "SKU"}, False),
        (("visitor", "sku", "x", "y"), {"user": "visitor", "item": "sku", "timestamp": "y"}, True),
    ],
    ids=["RecTools", "LensKit", "named", "all named"],
)
def test_columns_are_recognised_or_named(columns, options, ordered):
    rows = pd.DataFrame([[1, 2, 1.0, 5], [1, 3, 1.0, 4], [2, 3, 1.0, 9]], columns=list(columns))
    found, form, *_ = read_frame(rows, Reading(**options))
    assert found.ordered is ordered and len(found) == 3 and (form.user, form.item) == columns[:2]
    assert found.history(0).tolist() == ([1, 0] if ordered else [0, 1])


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (
            lambda: pd.DataFrame({"a": [1], "item": [2]}),
            {},
            r"The data frame has no column user: its columns are a, item\..*user='COLUMN'",
        ),
        (lambda: pd.DataFrame({"user": [1], "item": [2]}), {"item": "sku"}, "The data frame has no column sku"),
        (lambda: pd.DataFrame({"user": [], "item": []}), {}, "The data frame has no rows"),
        (lambda: pd.DataFrame({"user": [1], "item": [2]}), {"min_rating": 4}, "The data frame has no column rating"),
        (lambda: pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"]), {}, "more than one column"),
        (lambda: pd.DataFrame([[1, 2, 3]], columns=["user", "item", "Item "]), {}, "more than one column"),
        (lambda: [(1, 2)], {}, "give a pandas or Polars data frame, or an Arrow table"),
        (lambda: "ratings.csv", {}, "give a pandas or Polars data frame, or an Arrow table"),
        (
            lambda: pytest.importorskip("polars").LazyFrame({"user": [1], "item": [2]}),
            {},
            "collect it first",
        ),
        (lambda: pd.DataFrame({"user": [1], "item": [2]}), {"delimiter": ","}, "no option delimiter for a frame"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(frame, options, message):
    with pytest.raises(SDiffError, match=message):
        Recommender.fit(frame(), preset="instant", **options)


def test_a_frame_of_many_users_has_the_list_of_each(model, numbered):
    train, _ = numbered
    users = [7, 3, 59, 3]
    found = model.recommend(users=users, k=4)
    assert list(found) == ["user_id", "item_id", "score", "rank", "title"]
    assert found["user_id"].tolist() == [user for user in users for _ in range(4)]
    assert found["rank"].tolist() == [1, 2, 3, 4] * 4
    for user in users:
        history = train[train["user_id"] == user].sort_values("timestamp")["item_id"].tolist()
        alone = model.recommend(history, k=4)
        own = found[found["user_id"] == user][:4]
        assert own["item_id"].astype(str).tolist() == alone.ids
        np.testing.assert_allclose(own["score"], alone.scores, rtol=1e-4, atol=1e-6)


def test_an_answer_is_of_the_same_kind_as_the_frame_and_can_be_joined_to_it(kind, model, numbered, titles):
    train, _ = numbered
    given = kind(train)
    found = model.recommend(users=[1, 2], histories=given, k=30, exclude_seen=False)
    assert type(found) is type(given)
    columns = plain(found)
    assert [type(value) for value in (columns["user_id"][0], columns["item_id"][0])] == [int, int]
    joined = pd.DataFrame(columns).merge(titles, on="item_id", how="left")
    known = joined["item_id"] < 29
    assert (joined["title_x"] == joined["title_y"])[known].all() and joined["title_x"][~known].isna().all()
    assert len(joined) == 60 and known.sum() == 58


def test_histories_may_be_a_dict_lists_or_a_series(model):
    pasts = {"a": [12, 3], "b": [], "c": ["25"]}
    by_user = model.recommend(histories=pasts, k=3)
    assert by_user["user_id"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert by_user["item_id"].astype(str).tolist() == [
        i for past in pasts.values() for i in model.recommend(past, 3).ids
    ]
    numbers = model.recommend(histories=[*pasts.values()], k=3)
    assert numbers["user_id"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for other in (numbers, model.recommend(histories=pd.Series(pasts), k=3)):
        assert other["item_id"].tolist() == by_user["item_id"].tolist()
    assert model.recommend(histories=pasts, users=["c", "a"], k=1)["user_id"].tolist() == ["c", "a"]
    for wrong in ([12, 3], ["12", "3"], {"a": 12}, 12, "12"):
        with pytest.raises(SDiffError, match="list"):
            model.recommend(histories=wrong)


def test_two_histories_of_one_user_are_refused(model):
    for pasts in ({1: [3], "1": [4]}, pd.Series([[3], [4]], index=["a", "a"])):
        with pytest.raises(SDiffError, match="several histories of one user"):
            model.recommend(histories=pasts)


@pytest.mark.parametrize("user", [True, 2**70], ids=str)
def test_users_that_a_column_of_numbers_cannot_hold_are_texts(model, user):
    assert model.recommend(histories={user: [3]}, k=1)["user_id"].tolist() == [str(user)]


@pytest.mark.parametrize("name", ["rank", "score"])
def test_ids_are_not_replaced_by_a_column_of_the_lists_with_their_name(numbered, name):
    quick = preset("instant").override({"K": 4})
    model = Recommender.fit(numbered[0].rename(columns={"item_id": name}), quick, item=name)
    with pytest.raises(SDiffError, match=f"column of ids {name} has the name of a column"):
        model.recommend(users=[1], k=3)


def test_one_column_cannot_be_both_user_and_item(numbered):
    with pytest.raises(SDiffError, match="item_id has more than one role"):
        Recommender.fit(numbered[0], preset("instant"), user="item_id", item="item_id")
    with pytest.raises(SDiffError, match="no column item"):
        Recommender.fit(numbered[0], preset("instant"), user="item_id")


@pytest.mark.parametrize("minutes", [-1, 0, float("nan"), "soon"])
def test_minutes_are_a_positive_number(numbered, minutes):
    with pytest.raises(SDiffError, match="minutes must be a"):
        Recommender.fit(numbered[0], minutes=minutes)


def test_only_candidates_are_ranked_and_seen_items_on_request(model):
    past = [3, 4]
    found = model.recommend(histories=[past], candidates=[1, 4, 25])
    assert set(found["item_id"]) == {1, 25}
    assert set(model.recommend(histories=[past], candidates=[1, 4, 25], exclude_seen=False)["item_id"]) == {1, 4, 25}
    with pytest.raises(SDiffError, match="exclude_seen must be True or False, not 'no'"):
        model.recommend(histories=[past], exclude_seen="no")
    with pytest.raises(SDiffError, match="Unknown item nobody"):
        model.recommend(histories=[past], candidates=["nobody"])
    assert model.recommend(histories=[past], candidates=["nobody", 1], unknown="ignore")["item_id"].tolist() == [1]


@pytest.mark.parametrize("unknown", ["error", "ignore"])
@pytest.mark.parametrize(
    "column",
    [
        np.array,
        torch.tensor,
        pd.Series,
        lambda values: pd.Series(values).convert_dtypes(),
        lambda values: pytest.importorskip("polars").Series(values),
        lambda values: pytest.importorskip("pyarrow").array(values),
        lambda values: pytest.importorskip("pyarrow").chunked_array([values]),
    ],
    ids=["numpy", "torch", "pandas", "pandas extension", "polars", "pyarrow", "pyarrow chunked"],
)
def test_candidates_are_ids_or_a_mask_in_a_column_of_any_library(model, column, unknown):
    for values in ([id in ("1", "25") for id in model.items.ids], [1, 25], ["1", "25"]):
        if column is torch.tensor and values == ["1", "25"]:
            continue  # a tensor holds no text
        found = model.recommend(histories=[[3, 4]], candidates=column(values), unknown=unknown)
        assert set(found["item_id"]) == {1, 25}


@pytest.mark.parametrize("wrong", [np.array(True), np.array([True, False]), np.array([[1, 25]])])
def test_candidates_of_another_shape_are_refused(model, wrong):
    with pytest.raises(SDiffError, match="candidates must be a list of ids, or an array of 30 bool, not an array of"):
        model.recommend(histories=[[3, 4]], candidates=wrong)


def test_unknown_ids_are_refused_or_left_out_on_request(model, numbered):
    with pytest.raises(SDiffError, match="Unknown user 99, nobody"):
        model.recommend(users=[1, 99, "nobody"])
    for wrong in (1, "1"):
        with pytest.raises(SDiffError, match=r"as a list, such as \['?1'?\]"):
            model.recommend(users=wrong)
    assert set(model.recommend(users=[1, 99], unknown="ignore")["user_id"]) == {1}
    assert len(model.recommend(users=[99], unknown="ignore")) == 0
    more = pd.concat([numbered[0], pd.DataFrame({"user_id": [1, 77], "item_id": [88, 88], "timestamp": [1e9, 1e9]})])
    with pytest.raises(SDiffError, match="Unknown item 88"):
        model.recommend(histories=more)
    found = model.recommend(histories=more, unknown="ignore", k=3)  # further scores differ by rounding errors alone
    assert set(found["user_id"]) == {*range(60), 77}, "user 77 has an empty history"
    assert found[found["user_id"] == 1]["item_id"].tolist() == model.recommend(users=[1], k=3)["item_id"].tolist()


def test_one_history_or_many_but_not_both(model):
    assert set(model.recommend(k=1)["user_id"]) == {*range(60)}, "all users by default"
    for wrong in ({"history": [1], "users": [2]}, {"history": [1], "histories": [[2]]}):
        with pytest.raises(SDiffError, match="either one history, or users"):
            model.recommend(**wrong)
    bare = Recommender(model.checkpoint, CPU)
    for few in ({}, {"users": [1]}):
        with pytest.raises(SDiffError, match="no histories of users"):
            bare.recommend(**few)
    found = bare.recommend(histories=[[1]])
    assert list(found) == ["user", "item", "score", "rank"] and found["item"].iloc[0] in bare.items


def test_a_library_that_is_not_installed_is_named():
    with pytest.raises(SDiffError, match="modin is not installed"):
        Form("modin").build(np.array(["1"], dtype=object), np.array(["2"], dtype=object), {})


def test_many_users_are_ranked_in_batches_of_a_thousand(model, monkeypatch):
    sizes, top = [], Recommender.top
    monkeypatch.setattr(Recommender, "top", lambda self, x, *rest: sizes.append(len(x)) or top(self, x, *rest))
    assert len(model.recommend(histories=[[1]] * 2300, k=1)) == 2300 and sizes == [1000, 1000, 300]


def test_evaluation_equals_that_of_a_split(model, numbered, split):
    _, test = numbered
    found = model.evaluate(test, k=[5, 20])
    train, *_ = read_frame(numbered[0])
    held_out = frames.over(model.items, read_frame(test)[0], "error")
    assert held_out.users == train.users
    whole = Split(train, train.where(np.zeros(len(train), bool)), held_out)
    wanted = evaluate(lambda x: model.scores(x, model.config, torch.Generator()), whole, "test", CPU, k=[5, 20])
    assert len(found.users) == wanted.pop("users") and wanted.items() <= found.means.items()
    assert {"mrr@5", "map@20", "coverage@5"} <= found.means.keys() - wanted.keys()


def test_only_new_interactions_with_known_users_and_items_are_measured(model, numbered):
    train, test = numbered
    extra = pd.DataFrame({"user_id": [1, 99, 2], "item_id": [88, 1, train[train.user_id == 2].item_id.iloc[0]]})
    more = pd.concat([test, extra.assign(timestamp=1e9)])
    with pytest.raises(SDiffError, match="Unknown item 88"):
        model.evaluate(more)
    assert model.evaluate(more, unknown="ignore").means == model.evaluate(test).means
    with pytest.raises(SDiffError, match="nothing to evaluate"):
        model.evaluate(train)
    users = pd.unique(test["user_id"])[:7]
    some = model.evaluate(test, histories=train[train.user_id.isin(users)], unknown="ignore")
    assert sorted(map(int, some.users)) == sorted(users)


def test_fit_trains_on_every_row_and_knows_its_users(numbered, titles, tmp_path):
    train, _ = numbered
    model = Recommender.fit(train, preset("instant").override({"K": 8}), items=titles, seed=3, device="cpu")
    read, *_ = read_frame(train)
    assert model.checkpoint.item_counts.tolist() == read.item_counts.tolist() and model.config.K == 8
    assert model.checkpoint.provenance.seed == 3
    model.save(tmp_path / "m")
    loaded = Recommender.load(tmp_path / "m", "cpu", interactions=train, items=titles)
    pd.testing.assert_frame_equal(loaded.recommend(users=[5, 6]), model.recommend(users=[5, 6]))
    pd.testing.assert_frame_equal(loaded.recommend(histories=train), model.recommend(histories=train))


def test_fit_repeats_the_best_number_of_epochs_on_every_row(numbered):
    train, _ = numbered
    config = replace(SMALL, epochs=6, eval_every=2, patience=2)
    model = Recommender.fit(train, config, device="cpu")
    whole = split_of(read_frame(train, Reading())[0], Reading()).merged()
    best = Trainer(config, Split(whole.train, whole.test, whole.valid), 0, "cpu").fit().best.epoch
    assert model.config.epochs == model.checkpoint.provenance.epoch == best
    assert model.checkpoint.item_counts.sum() == len(train) and "valid" not in model.checkpoint.metrics


def test_fit_trains_again_as_the_chosen_model_was_trained(numbered, monkeypatch):
    """A half-life that suits inference must not change what training hides."""
    train, _ = numbered
    small = preset("tuned").override({"K": 8, "hidden": 16, "epochs": 2, "eval_every": 1, "folds": 0})
    monkeypatch.setattr("sdiff.training.auto.PRESETS", {"tuned": small})
    monkeypatch.setattr("sdiff.training.auto.CANDIDATES", ("tuned",))

    def choose(trainer):
        trainer.inference_settings = {"half_life": 2.0}
        return {"half_life": 2.0}, {"recall@20": 1.0, "ndcg@20": 1.0}, {}

    monkeypatch.setattr("sdiff.training.auto._choose", choose)
    model = Recommender.fit(train, device="cpu")
    assert model.config.half_life == 2 and model.checkpoint.provenance.trained == {"half_life": 0}
    same = Recommender.fit(train, small, device="cpu").checkpoint.weights
    assert all(torch.equal(weight, same[name]) for name, weight in model.checkpoint.weights.items())


@pytest.mark.parametrize("config", [preset("instant").override({"K": 8}), replace(SMALL, epochs=2, patience=4)])
def test_an_update_adds_interactions_users_and_items_to_those_that_the_model_knows(config, numbered, titles):
    train, test = numbered
    old, new = train[(train.item_id != 7) & (train.user_id < 50)], pd.concat([train, test])
    model = Recommender.fit(old, config, items=titles, device="cpu")
    later = model.update(new[(new.item_id == 7) | (new.user_id >= 50)], items=titles, seed=1)
    assert later.items.ids[: len(model.items)] == model.items.ids and {*later.items.ids} == {*map(str, new.item_id)}
    assert later.checkpoint.item_counts.sum() > model.checkpoint.item_counts.sum() and later.config == model.config
    frame = later.recommend(users=[3, 55], k=4)
    assert [*frame.columns] == ["user_id", "item_id", "score", "rank", "title"] and len(frame) == 8
    known = pd.concat([old, new[(new.item_id == 7) | (new.user_id >= 50)]]).drop_duplicates(["user_id", "item_id"])
    pd.testing.assert_frame_equal(frame, later.recommend(histories=known, users=[3, 55], k=4))
    assert model.recommend(users=[3], k=4).shape == (4, 5), "the former model is unchanged"


def test_an_update_chooses_its_epochs_on_interactions_that_the_model_was_not_trained_on(numbered, monkeypatch):
    train, test = numbered
    splits = []

    def recorded(checkpoint, split, *arguments, **settings):
        splits.append(split)
        return update(checkpoint, split, *arguments, **settings)

    monkeypatch.setattr(frames, "update", recorded)
    model = Recommender.fit(train, replace(SMALL, epochs=1, patience=4), device="cpu")
    later = model.update(test.sample(frac=1, random_state=0).rename(columns={"item_id": "item"}))
    chosen, last = splits
    new = {*zip(test.user_id.astype(str), test.item_id.astype(str), strict=True)}
    valid = chosen.valid
    pairs = [(valid.users.ids[u], valid.items.ids[i]) for u, i in zip(valid.rows, valid.indices, strict=True)]
    assert pairs and {*pairs} <= new
    assert len(chosen.train) + len(pairs) == len(last.train) == len(train) + len(test)
    assert [*later.recommend(users=[1], k=1)][:2] == ["user_id", "item_id"], "of the form that was given first"


def test_an_update_of_a_model_without_histories_takes_those_of_the_frame(numbered, tmp_path):
    train, test = numbered
    Recommender.fit(train, preset("instant").override({"K": 8}), device="cpu").save(tmp_path / "m")
    later = Recommender.load(tmp_path / "m", "cpu").update(pd.concat([train, test]))
    assert later.checkpoint.item_counts.sum() == len(train) + len(test)


def test_fit_chooses_the_preset(numbered, monkeypatch):
    train, _ = numbered
    few = {name: preset(name).override({"K": 8}) for name in ("filter", "instant")}
    monkeypatch.setattr("sdiff.training.auto.PRESETS", few)
    monkeypatch.setattr("sdiff.training.auto.CANDIDATES", tuple(few))
    model = Recommender.fit(train, device="cpu")
    assert model.checkpoint.provenance.preset in few and model.config.K == 8
    with pytest.raises(SDiffError, match="Unknown preset 'best'"):
        Recommender.fit(train, "best")


def test_a_minimum_rating_also_holds_for_later_frames(numbered):
    train, test = (frame.assign(rating=5) for frame in numbered)
    low = train.assign(item_id=29 - train.item_id, rating=1)
    model = Recommender.fit(pd.concat([train, low]), "instant", min_rating=4, device="cpu")
    assert model.checkpoint.item_counts.sum() == len(train)
    pd.testing.assert_frame_equal(model.recommend(histories=pd.concat([low, train])), model.recommend(histories=train))
    assert (
        model.evaluate(pd.concat([test, low]), unknown="ignore").means == model.evaluate(test, unknown="ignore").means
    )
