"""Python's garbage collector, while the triggerer creates many objects that stay."""

from __future__ import annotations

import atexit
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def without_collections() -> Iterator[None]:
    """
    Create objects that live as long as the process, and that contain no garbage, while the collector is off.

    Many new objects make the collector run over all objects of the triggerer. No thread of the process runs meanwhile,
    so the event loop is blocked for 0.1 s and more. At the end, all objects that exist are frozen: the collector skips
    them from then on.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # so that objects of extension modules are freed at exit
        if was_enabled:
            gc.enable()
