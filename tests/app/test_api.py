"""The running app as seen by other programs: named endpoints and MCP tools."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from typing import get_type_hints

import httpx
import jsonschema
import pytest

from sdiff.app import answers, api, endpoints
from sdiff.app.settings import SLIDERS
from sdiff.app.state import open_dataset
from sdiff.base.paths import CHECKPOINTS, runs_dir
from sdiff.config import BOUNDS, Config
from sdiff.serving.recommender import Recommender
from tests.conftest import ROOT, run, tools

NAMES = {endpoint.__name__ for endpoint in api.ENDPOINTS}
TUNABLE = ("recommend", "explain", "compare", "spectrum")


@pytest.fixture(scope="module")
def ask(url):
    from gradio_client import Client

    return Client(url, verbose=False).predict


@pytest.fixture(scope="module")
def described(url):
    """The description of the endpoints: for each, its parameters by name and the schema of its result."""
    endpoints = httpx.get(f"{url}gradio_api/info").json()["named_endpoints"]
    return {
        name.strip("/"): ({each["parameter_name"]: each for each in info["parameters"]}, info["returns"][0]["type"])
        for name, info in endpoints.items()
    }


def test_the_list_endpoint_returns_typed_rows(ask):
    rows = ask(user="7", k=3, guidance=0.5, api_name="/recommend")
    assert [row["rank"] for row in rows] == [1, 2, 3] and all(row["title"] for row in rows)
    with pytest.raises(Exception, match="Unknown user nobody"):
        ask(user="nobody", api_name="/recommend")


def test_every_endpoint_answers(ask):
    assert next(row for row in ask(api_name="/list_datasets") if row["key"] == "demo")["available"]
    assert ask(api_name="/list_checkpoints")[0]["name"] == "demo"
    [found] = ask(question="nebla seventen iii", limit=5, api_name="/search_items")
    rows = ask(k=5, history=[found["id"]], api_name="/recommend")
    assert any("Nebula Seventeen" in row["title"] for row in rows)
    parts = ask(item=rows[0]["id"], history=[found["id"]], api_name="/explain")
    assert sum(value for _, value in parts["by_item"]) == pytest.approx(parts["score"], abs=1e-4)
    view = ask(user="7", tau=2, api_name="/spectrum")
    assert len(view["eigenvalues"]) == 128 and view["tau"] == 2 and view["snr_at_tau"]["vp"][0] is None
    with pytest.raises(Exception, match=r"tau must be between 0\.01 and 10"):
        ask(tau=11, api_name="/recommend")
    similar = ask(item=found["id"], limit=3, api_name="/similar_items")
    assert len(similar) == 3 and 1 >= similar[0]["similarity"] >= similar[2]["similarity"] > 0
    rows = ask(api_name="/leaderboard")
    assert {"demo", "demo-paper", "instant", "popularity", "A x"} <= {row["model"] for row in rows}
    assert rows[0]["measured"]["valid"] >= rows[1]["measured"]["valid"]


def test_a_setting_that_is_null_has_the_value_of_the_checkpoint():
    base = api.recommend(user="7", k=5)
    assert api.recommend(user="7", k=5, **dict.fromkeys(endpoints.SETTINGS)) == base
    assert api.recommend(user="7", k=5, half_life=15.0) != base
    same = api.compare(user="7", other="demo", other_settings={"half_life": 15.0, "T": None})
    assert same["other_list"][0]["id"] == api.recommend(user="7", half_life=15.0)[0]["id"] and same["overlap"] < 20
    assert api.compare(user="7", other="demo")["overlap"] == 20
    longer = api.compare(user="7", k=2000)
    assert len(longer["list"]) == len(api.recommend(user="7", k=2000)) > 1000 and "score" not in longer["list"][0]


def test_the_settings_are_those_of_the_controls_with_the_types_of_the_configuration():
    kinds = get_type_hints(Config)
    assert {name: kinds[name] | None for name in SLIDERS} == endpoints.SETTINGS


def test_settings_are_described_by_type_range_and_meaning(described):
    for endpoint in TUNABLE:
        parameters, _ = described[endpoint]
        for name in endpoints.SETTINGS:
            schema = parameters[name]["type"]
            [null, number] = schema["oneOf"]
            assert null == {"type": "null"} and number["type"] == ("integer" if name == "T" else "number")
            assert (number["minimum"], number["maximum"]) == BOUNDS[name]
            assert SLIDERS[name][0] in schema["description"] and parameters[name]["parameter_default"] is None
    other = described["compare"][0]["other_settings"]["type"]["oneOf"][1]["properties"]
    assert other == {name: described["compare"][0][name]["type"] for name in endpoints.SETTINGS}


def test_every_parameter_has_a_description_and_no_type_is_unknown(described):
    assert described.keys() == NAMES

    def known(schema) -> bool:
        inner = [*schema.get("oneOf", []), *schema.get("properties", {}).values(), *schema.get("prefixItems", [])]
        inner += [schema[key] for key in ("items", "additionalProperties") if key in schema]
        return ("type" in schema or "oneOf" in schema) and all(map(known, inner))

    for name, (parameters, result) in described.items():
        assert known(result) and result["type"] in ("array", "object"), name
        for parameter in parameters.values():
            assert known(parameter["type"]) and parameter["type"]["description"], (name, parameter)


def test_results_conform_to_their_schemas(ask, described):
    for name, arguments in {
        "list_datasets": {},
        "list_checkpoints": {},
        "leaderboard": {},
        "recommend": {"k": 3, "noise": 0.5},
        "search_items": {"limit": 3},
        "similar_items": {"item": "7", "limit": 3},
        "explain": {"item": "7"},
        "compare": {"k": 3, "other_settings": {}, "other": "demo"},
        "spectrum": {},
    }.items():
        found = ask(api_name=f"/{name}", **arguments)
        schema = described[name][1]
        jsonschema.validate(found, schema)
        rows, row = (found, schema["items"]) if schema["type"] == "array" else ([found], schema)
        assert rows and all(each.keys() == row["properties"].keys() for each in rows), name


def test_every_endpoint_is_an_mcp_tool_with_schemas(url):
    assert set(run(tools(url))) == NAMES

    async def used():
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            listed = (await session.list_tools()).tools
            # The client checks the result against the schema.
            good = await session.call_tool("recommend", {"user": "7", "k": 2, "guidance": 0.5})
            bad = await session.call_tool("recommend", {"user": "nobody"})
            outside = await session.call_tool("recommend", {"alpha_min": 2})
            wrong = await session.call_tool("recommend", {"history": [{}] * 20_000})
            return {tool.name: tool for tool in listed}, good, bad, outside, wrong

    listed, good, bad, outside, wrong = run(used())
    row = listed["recommend"].outputSchema["properties"]["result"]["items"]
    assert row["properties"].keys() == get_type_hints(answers.RankedItem).keys()
    number = listed["recommend"].inputSchema["properties"]["alpha_min"]["oneOf"][1]
    assert (number["minimum"], number["maximum"]) == (0, 1)
    assert [row["rank"] for row in good.structuredContent["result"]] == [1, 2]
    assert bad.isError and "Unknown user nobody" in bad.content[0].text
    assert outside.isError and "2" in outside.content[0].text
    assert wrong.isError and len(wrong.content[0].text) < 500, "the schema's checker would quote all of it"


def test_the_examples_of_the_guide_run(url):
    guide = (ROOT / "docs" / "howto.md").read_text(encoding="utf-8")
    part = guide.split("\n## Call the app over HTTP")[1].split("\n## ")[0]
    [example] = re.findall(r"^```python\n(.*?)^```", part, flags=re.M | re.S)
    assert example.count("http://127.0.0.1:7860") == 1
    used: dict = {}
    exec(example.replace("http://127.0.0.1:7860", url.rstrip("/")), used)
    assert {f"/{name}" for name in re.findall(r'api_name="/(\w+)"', example)} <= {f"/{name}" for name in NAMES}
    assert used["rows"]


def test_a_damaged_checkpoint_is_listed_with_its_error_and_does_not_affect_others():
    damaged = runs_dir() / "damaged"
    shutil.copytree(CHECKPOINTS / "demo", damaged)
    next(damaged.glob("*.safetensors")).unlink()
    cards = {row["name"]: row["card"] for row in api.list_checkpoints("demo")}
    shutil.rmtree(damaged)
    assert "recall@20" in cards["demo"] and cards["damaged"] and "recall@20" not in cards["damaged"]


def test_measuring_all_models_leaves_other_calls_their_places(monkeypatch):
    measured = threading.Event()

    def slow(_):
        measured.wait(30)
        yield []

    monkeypatch.setattr(api.standings, "leaderboard", slow)

    async def called():
        board = endpoints.served(api.leaderboard, endpoints.MEASURING)
        boards = [asyncio.create_task(board("demo")) for _ in range(3)]
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(endpoints.served(api.recommend)("demo", k=3), 20)
        finally:
            measured.set()
            assert await asyncio.gather(*boards) == [[]] * 3

    assert len(run(called())) == 3


def test_the_leaderboard_waits_in_one_line_with_the_measurements_of_the_page(demo):
    lines = {event.api_name: event.concurrency_id for event in demo.fns.values()}
    assert lines["leaderboard"] == lines["measure"] != lines["recommend"]


def test_similar_items_are_those_of_the_models_graph():
    found = api.similar_items("7", "demo", "demo", 5)
    expected = Recommender.load("demo").similar_items("7", 5)
    assert [row["id"] for row in found] == expected.ids
    assert [row["similarity"] for row in found] == pytest.approx(expected.scores)
    assert api.similar_items(7, "demo", "demo", 5) == found, "programs may send numbers"
    common = open_dataset("demo").dataset.split.train.co_occurrence(expected.indices[0])
    assert found[0]["users"] == common[Recommender.load("demo").items.index["7"]]
