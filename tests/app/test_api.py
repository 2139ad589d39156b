"""The running app as seen by other programs: named endpoints and MCP tools."""

from __future__ import annotations

import shutil

import pytest

from sdiff.app import api
from sdiff.base.paths import CHECKPOINTS, runs_dir
from tests.conftest import run, tools


def test_the_list_endpoint_returns_typed_rows(url):
    from gradio_client import Client

    client = Client(url, verbose=False)
    rows = client.predict(user="7", k=3, settings='{"guidance": 0.5}', api_name="/recommend")
    assert [row["rank"] for row in rows] == [1, 2, 3] and all(row["title"] for row in rows)
    with pytest.raises(Exception, match="Unknown user nobody"):
        client.predict(user="nobody", api_name="/recommend")


def test_every_endpoint_answers_and_is_an_mcp_tool(url):
    from gradio_client import Client

    ask = Client(url, verbose=False).predict
    assert next(row for row in ask(api_name="/list_datasets") if row["key"] == "demo")["available"]
    assert ask(api_name="/list_checkpoints")[0]["name"] == "demo"
    [found] = ask(question="nebla seventen iii", limit=5, api_name="/search_items")
    rows = ask(k=5, history=[found["id"]], api_name="/recommend")
    assert any("Nebula Seventeen" in row["title"] for row in rows)
    parts = ask(item=rows[0]["id"], history=[found["id"]], api_name="/explain")
    assert sum(value for _, value in parts["by_item"]) == pytest.approx(parts["score"], abs=1e-4)
    view = ask(user="7", settings='{"tau": 2}', api_name="/spectrum")
    assert len(view["eigenvalues"]) == 128 and view["tau"] == 2 and view["snr_at_tau"]["vp"][0] is None
    with pytest.raises(Exception, match="settings is not JSON"):
        ask(settings="{", api_name="/recommend")
    names = {"list_datasets", "list_checkpoints", "recommend", "search_items", "explain", "compare", "spectrum"}
    assert set(run(tools(url))) == names


def test_a_damaged_checkpoint_is_listed_with_its_error_and_does_not_affect_others():
    damaged = runs_dir() / "damaged"
    shutil.copytree(CHECKPOINTS / "demo", damaged)
    next(damaged.glob("*.safetensors")).unlink()
    cards = {row["name"]: row["card"] for row in api.list_checkpoints("demo")}
    shutil.rmtree(damaged)
    assert "R@20" in cards["demo"] and cards["damaged"] and "R@20" not in cards["damaged"]
