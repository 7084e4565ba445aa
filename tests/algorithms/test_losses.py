"""Loss terms on their own: nothing valid, and shapes that do not fit. Their values: `test_algorithms`."""

import numpy as np
import pytest
from keras import ops

from a3c.algorithms import losses

pytestmark = pytest.mark.both_backends


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, np.float32))


def test_nothing_valid_gives_zero_and_not_nan():
    zeros = tensor(np.zeros((2, 2)))
    assert float(losses.masked_mean(tensor(np.ones((2, 2))), zeros)) == 0.0


@pytest.mark.parametrize("term", [losses.policy_gradient_loss, losses.value_loss])
def test_shapes_that_would_broadcast_are_refused(term):
    with pytest.raises(ValueError, match="one shape"):
        term(tensor(np.ones((4, 1))), tensor(np.ones((4, 4))), tensor(np.ones((4, 1))))
    with pytest.raises(ValueError, match="one shape"):
        term(tensor(np.ones(4)), tensor(np.ones((4, 1))), tensor(np.ones(4)))
