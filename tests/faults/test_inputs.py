"""Bad input and faults: what is said, the exit code, and what is not lost. The table is `inputs.py`."""

import sys

import inputs
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module", autouse=True)
def finished_runs():
    """Made where they are needed; removed at the end."""
    yield
    inputs.forget()


def marks(name, case):
    yield from [pytest.mark.long_faults] if name in inputs.SLOW else []
    yield from [pytest.mark.xfail(reason=case.fails, strict=True)] if case.fails else []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=list(marks(name, case))) for name, case in inputs.CASES.items()]
)
def test_input(name, tmp_path):
    try:
        inputs.carry_out(inputs.CASES[name], tmp_path)
    except inputs.Impossible as reason:
        pytest.skip(str(reason))


def test_there_are_many():
    assert len(inputs.CASES) - len(inputs.SLOW) >= 25
    assert set(inputs.CASES) >= inputs.SLOW
