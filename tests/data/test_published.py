"""Formats of known data sets on a few lines each, and the filters of ML-1M on all of it."""

import numpy as np
import pytest

from sdiff.base.errors import SDiffError
from sdiff.data.datasets import load_dataset
from sdiff.data.published import GENRES, last_fm, movielens, movielens_100k, published_lists, steam
from sdiff.data.registry import REGISTRY
from sdiff.serving.recommender import Recommender
from tests.conftest import real_data


def write(folder, files, encoding="utf-8"):
    for name, text in files.items():
        (folder / name).write_text(text, encoding=encoding)
    return folder


def core(rows, form):
    """Lines of five users with the same five items, which a 5-core keeps, and extra lines."""
    return "".join(form.format(u=u, i=i, r=5, t=i) for u in range(1, 6) for i in range(1, 6)) + rows


def test_movielens_is_read_in_its_newer_format(tmp_path):
    rows = core("1,99,5.0,9\n9,1,5.0,9\n", "{u},{i},{r}.0,{t}\n") + "1,6,3.5,0\n"
    movies = 'movieId,title,genres\n1,Toy Story (1995),Animation|Children\n2,"Matrix, The (1999)",(no genres listed)\n'
    split, items = movielens(core=5)(
        write(tmp_path, {"ratings.csv": "userId,movieId,rating,timestamp\n" + rows, "movies.csv": movies})
    )
    assert split.users.ids == split.items.ids == ("1", "2", "3", "4", "5")
    assert split.train.history(0).tolist() == [0, 1, 2], "in the order of time, the last 30 % held out"
    assert items.title[:3] == ["Toy Story", "The Matrix", "Item 3"] and items.year[:3] == [1995, 1999, 0]
    assert items.genres[:2] == ["Animation|Children", ""]


def test_movielens_is_read_in_its_older_format(tmp_path):
    files = {
        "ratings.dat": core("", "{u}::{i}::{r}::{t}\n"),
        "movies.dat": "1::Misérables, Les (1995)::Drama|Musical\n",
    }
    split, items = movielens(core=5, suffix=".dat", encoding="latin-1")(write(tmp_path, files, "latin-1"))
    assert len(split.items) == 5
    assert (items.title[0], items.year[0], items.genres[0]) == ("Les Misérables", 1995, "Drama|Musical")


def test_movielens_100k_has_a_flag_for_each_genre(tmp_path):
    flags = "|".join("1" if genre in ("Children's", "Sci-Fi") else "0" for genre in GENRES)
    files = {"u.data": core("", "{u}\t{i}\t{r}\t{t}\n"), "u.item": f"1|Café (1994)|01-Jan-1994||http://x|0|{flags}\n"}
    split, items = movielens_100k(write(tmp_path, files, "latin-1"))
    assert len(split.users) == 5 and (items.title[0], items.genres[0]) == ("Café", "Children's|Sci-Fi")


def test_last_fm_has_artists_and_no_timestamps(tmp_path):
    files = {
        "user_artists.dat": "userID\tartistID\tweight\n" + core("", "{u}\t{i}\t13883\n"),
        "artists.dat": 'id\tname\turl\tpictureURL\n1\tDead "Can" Dance\thttp://x\thttp://y\n',
    }
    split, items = last_fm(write(tmp_path, files))
    assert not split.train.ordered and items.title[:2] == ['Dead "Can" Dance', "Item 2"]


def test_a_steam_log_is_reduced_to_purchases(tmp_path):
    rows = core("", '{u},"Game, {i}",purchase,1.0,0\n{u},"Game, {i}",play,27.0,0\n') + "1,Other,play,3.0,0\n"
    split, items = steam(write(tmp_path, {"steam-200k.csv": rows}))
    assert items.title == [f"Game, {i}" for i in range(1, 6)]
    assert len(split.train) + len(split.valid) + len(split.test) == 25


def test_lightgcn_lines_and_diffrec_pairs_give_the_same_interactions(tmp_path):
    text, arrays = tmp_path / "text", tmp_path / "arrays"
    text.mkdir()
    arrays.mkdir()
    train = {0: [3, 1, 2], 2: [0, 3], 1: []}
    write(
        text,
        {"train.txt": "".join(f"{u} {' '.join(map(str, i))}\n" for u, i in train.items()), "test.txt": "0 0\n2 1\n"},
    )
    np.save(arrays / "train_list.npy", np.array([[u, i] for u, items in train.items() for i in items]))
    np.save(arrays / "test_list.npy", np.array([[0, 0], [2, 1]]))
    assert published_lists(text)[0].fingerprint == published_lists(arrays)[0].fingerprint


def test_without_a_valid_part_the_last_tenth_is_held_out_where_the_order_is_known(tmp_path):
    history = [(7 * i) % 20 for i in range(20)]
    write(tmp_path, {"train.txt": f"0 {' '.join(map(str, history))}\n", "test.txt": "0 20\n"})
    split, _, _ = published_lists(tmp_path)
    assert split.train.ordered and split.valid.history(0).tolist() == history[-2:]
    assert split.merged().train.history(0).tolist() == history


@pytest.mark.parametrize("line", ["0 1 x", "0 -1", "0 1.5"])
def test_non_numeric_lines_are_reported(tmp_path, line):
    write(tmp_path, {"train.txt": f"0 1 2\n{line}\n", "test.txt": "0 1\n"})
    with pytest.raises(SDiffError, match=r"train.txt, row 2: it must hold the indices of a user"):
        published_lists(tmp_path)


def test_recbole_atomic_files_include_their_items(tmp_path):
    write(
        tmp_path,
        {
            "ml.inter": "user_id:token\titem_id:token\ttimestamp:float\n" + core("", "{u}\t{i}\t{t}\n"),
            "ml.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1\tHeat\t1995\tCrime\n",
        },
    )
    dataset = load_dataset(str(tmp_path / "ml.inter"))
    assert dataset.split.train.ordered and len(dataset.split.items) == 5
    assert (dataset.items.title[0], dataset.items.year[0], dataset.items.genres[0]) == ("Heat", 1995, "Crime")


@pytest.mark.slow
def test_raw_ml_1m_has_the_counts_of_the_paper_and_is_served_by_the_model_of_its_split(tmp_path, monkeypatch):
    """The raw ratings are simulated: the published split, plus rows that the filters must remove."""
    folder, movies = real_data("ml-1m_clean"), real_data("ml-1m") / "movies.dat"
    published = load_dataset("ml-1m-diffrec")
    users, items = (np.array(ids.ids, dtype=int) for ids in (published.split.users, published.split.items))
    pairs = np.concatenate([np.load(folder / f"{part}_list.npy") for part in ("train", "test", "valid")])
    rows = np.stack([users[pairs[:, 0]], items[pairs[:, 1]], np.full(len(pairs), 4), np.arange(len(pairs))], axis=1)
    low = rows[::7] * [1, 0, 0, 1] + [0, 1, 3, 0]  # a rating of 3 by every user for one movie
    few = np.array([[9000 + n % 5, items[n], 5, n] for n in range(45)])  # five users with nine ratings
    target = tmp_path / "ml-1m"
    target.mkdir()
    np.savetxt(target / "ratings.dat", np.concatenate([rows, low, few]), fmt="%d", delimiter="::")
    (target / "movies.dat").write_bytes(movies.read_bytes())
    monkeypatch.setenv("SDIFF_DATA_DIR", str(tmp_path))
    raw = load_dataset("ml-1m")
    counts = (
        len(raw.split.users),
        len(raw.split.items),
        sum(map(len, (raw.split.train, raw.split.valid, raw.split.test))),
    )
    assert counts == REGISTRY["ml-1m"].counts == (5949, 2810, 571531)  # Table 2
    model = Recommender.load("checkpoints/ml-1m")
    served = raw.served_by(model.items)
    assert served.split.items.fingerprint == model.items.fingerprint == published.split.items.fingerprint
    assert served.items.title == published.items.title and served.items.year == published.items.year
