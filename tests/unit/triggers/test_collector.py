from __future__ import annotations

import gc
from typing import Any

import pytest

from airflow_eip_provider.triggers import watch
from airflow_eip_provider.triggers.collector import without_collections


def test_what_is_created_without_collections_is_skipped_by_later_ones():
    with without_collections():
        assert not gc.isenabled()
        created: list[Any] = [[]]
    assert gc.isenabled()
    assert all(each is not created for each in gc.get_objects())


@pytest.fixture
def _collector_off():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_collector_off")
def test_a_collector_that_was_off_stays_off():
    with without_collections():
        pass
    assert not gc.isenabled()


def test_the_collector_runs_again_after_an_error():
    with pytest.raises(MemoryError), without_collections():
        raise MemoryError
    assert gc.isenabled()


def test_a_deferred_wait_imports_without_collections(monkeypatch):
    """A full collection, over all objects of a triggerer, blocks its event loop."""
    watch._polling_imports.cache_clear()
    while_importing: list[bool] = []
    monkeypatch.setattr(watch.importlib, "import_module", lambda _: while_importing.append(gc.isenabled()))
    watch._polling_imports().result(timeout=60)
    watch._polling_imports.cache_clear()
    assert set(while_importing) == {False}
