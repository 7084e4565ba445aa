"""Signals: the first one asks, a second one leaves at once, and a double of the first is neither."""

import signal

import pytest

from a3c.training import interrupts
from a3c.training.interrupts import Interrupts


@pytest.fixture
def asked(monkeypatch):
    """Interrupts of a run that is under way, their clock, and how often the process has left."""
    now, left = [0.0], []
    monkeypatch.setattr(interrupts.os, "_exit", left.append)
    asked = Interrupts(lambda: None, lambda: now[0])
    asked.defer(lambda: None)
    asked._handle(signal.SIGINT, None)
    assert asked.requested
    yield asked, now, left
    asked.__exit__()  # its timer would end this process later


@pytest.mark.parametrize(("name", "seconds", "leaves"), [("INT", 0.4, 0), ("INT", 0.6, 1), ("TERM", 0.1, 1)])
def test_a_second_signal_leaves_unless_it_is_the_same_ctrl_c(asked, name, seconds, leaves):
    asked, now, left = asked
    now[0] += seconds
    asked._handle(getattr(signal, f"SIG{name}"), None)
    assert len(left) == leaves
