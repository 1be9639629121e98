"""Standard error has no reader any more while a command changes AWS: ``… 2>&1 | head -1``, or a lost terminal."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Any

import pytest

from airflow_eip_provider.cli import associate
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from tests.integration.cli.test_selftest import (  # noqa: F401 - fixtures
    assert_clean,
    real,
    real_of_all,
    selftest,
    stage,
)

pytestmark = pytest.mark.usefixtures("default_signals")


class Lost(io.StringIO):
    """Standard error whose reader has gone after some lines."""

    def __init__(self, lines: int, number: int = errno.EPIPE) -> None:
        super().__init__()
        self.lines, self.number = lines, number

    def write(self, text: str) -> int:
        if self.lines <= 0:
            raise OSError(self.number, os.strerror(self.number))
        self.lines -= text.count("\n")
        return super().write(text)


@pytest.mark.parametrize("lines", [0, 2, 5])
def test_a_self_test_completes_without_a_reader(stage, selftest, monkeypatch, lines):  # noqa: F811
    monkeypatch.setattr(sys, "stderr", lost := Lost(lines))
    assert selftest().status == 0
    assert lost.lines <= 0
    assert_clean(stage)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO], ids=errno.errorcode.get)
def test_an_association_is_undone_when_the_terminal_is_lost(elsewhere, record, lock_store, monkeypatch, number):
    """A lost terminal sends SIGHUP twice, and cannot be written to."""
    elsewhere.launch()
    bind, undo = associate._Association._bind, StoreLeaseClient.undo
    lost = Lost(1000, number)

    def hang_up_after_bind(*arguments: Any) -> Any:
        bind(*arguments)
        lost.lines = 0
        os.kill(os.getpid(), signal.SIGHUP)

    def hang_up_and_undo(*arguments: Any, **more: Any) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        undo(*arguments, **more)

    monkeypatch.setattr(associate._Association, "_bind", hang_up_after_bind)
    monkeypatch.setattr(StoreLeaseClient, "undo", hang_up_and_undo)
    monkeypatch.setattr(sys, "stderr", lost)
    assert elsewhere.associate("--lock-store", lock_store).status == 128 + signal.SIGHUP
    assert lost.lines == 0
    assert elsewhere.cluster_of_address() is None
    assert record().lease is None


def test_a_self_test_in_a_pipe_whose_reader_ends_leaves_nothing(real):  # noqa: F811
    """``airflow-eip selftest … 2>&1 | grep -m1 AssociateAddress``."""
    with real.begin() as process:
        assert any("AssociateAddress" in line for line in process.stderr)
        process.stderr.close()
        process.stdout.read()
    assert process.returncode == 0
    real.assert_clean()
