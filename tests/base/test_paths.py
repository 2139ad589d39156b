"""The user's folders, also without a home folder, as in a container with any user."""

from pathlib import Path

import pytest

from sdiff.base import paths
from sdiff.base.errors import SDiffError


@pytest.fixture
def homeless(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(paths.Path, "home", no_home)
    monkeypatch.setattr(paths, "INSTALLED", True)
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "SDIFF_CACHE_DIR", "SDIFF_RUNS_DIR", "SDIFF_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("folder", "variable"), [(paths.cache_dir, "SDIFF_CACHE_DIR"), (paths.runs_dir, "SDIFF_RUNS_DIR")]
)
def test_without_a_home_folder_a_variable_names_the_place(homeless, monkeypatch, folder, variable):
    with pytest.raises(SDiffError, match=f"no home folder: set the environment variable {variable}"):
        folder()
    monkeypatch.setenv(variable, "/somewhere")
    assert folder() == Path("/somewhere")


def test_data_sets_are_in_the_cache_unless_a_variable_names_their_folder(homeless, monkeypatch):
    monkeypatch.setenv("SDIFF_CACHE_DIR", "/cache")
    assert paths.data_dir() == Path("/cache/data")
    monkeypatch.setenv("SDIFF_DATA_DIR", "/data")
    assert paths.data_dir() == Path("/data")
