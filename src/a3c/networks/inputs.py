"""From packed observations to what a network is called with: pure functions on `keras.ops`.

A network sees vectors [N, n] and images [N, H, W, C] in float32, bytes scaled so that the largest is 1, and a
one-hot vector for each choice among n things. Where the space is a Dict or a Tuple, it is called with a
`dict` or `tuple` of these. See `spaces/observations.py` for what packed observations are.
"""

from typing import Any

from keras import ops

from a3c.networks.normalisation import count_statistics, moments, standardise, without_rests
from a3c.spaces.observations import Leaf, Observations, leaves, map_parts


def unpack(
    observations: Observations,
    packed: Any,
    statistics: tuple[Any, Any] | None = None,
    images: bool = True,
) -> Any:
    """What the network is called with for `packed` [N, *O].

    Args:
        observations: How they are packed.
        packed: Packed observations.
        statistics: Mean and variance of the numbers that are normalised, in the order of packing; None: none.
        images: Whether images are normalised as well.
    """
    packed = ops.cast(packed, "float32")
    position = used = 0

    def take(part: Leaf) -> Any:
        nonlocal position, used
        position += part.size
        numbers = packed
        if not observations.plain:
            numbers = ops.reshape(packed[:, position - part.size : position], (-1, *part.packed_shape))
        seen = _seen(part, numbers)
        if statistics is not None and (count := count_statistics(part, images)):
            used += count
            seen = standardise(seen, *(numbers[used - count : used] for numbers in statistics))
        return seen

    return map_parts(take, observations.tree)


def observed_moments(observations: Observations, packed: Any, valid: Any, images: bool = True) -> list[Any]:
    """`Statistics` of what is normalised in those of `packed` [N, *O] whose `valid` [N] is 1."""
    packed = ops.reshape(packed, (packed.shape[0], -1))
    means, variances, count, position = [], [], None, 0
    for part in leaves(observations.tree):
        position += part.size
        if statistics := count_statistics(part, images):
            numbers = packed[:, position - part.size : position]
            found = moments(ops.reshape(numbers, (packed.shape[0], statistics, -1)), valid)
            means.append(found.mean * part.scale)
            variances.append(found.variance * part.scale**2)
            count = found.count
    return list(without_rests(ops.concatenate(means, 0), ops.concatenate(variances, 0), count))


def _seen(part: Leaf, array: Any) -> Any:
    """One part [N, *shape] as the network sees it: [N, *seen_shape]."""
    if part.kind == "choices":
        numbers = ops.reshape(array, (-1, len(part.sizes)))
        chosen = [
            ops.one_hot(ops.cast(numbers[:, k], "int32"), size, dtype="float32")
            for k, size in enumerate(part.sizes)
        ]
        return chosen[0] if len(chosen) == 1 else ops.concatenate(chosen, -1)
    if part.scale != 1.0:
        array = array * part.scale
    target = (-1, *part.seen_shape)
    return array if tuple(array.shape[1:]) == target[1:] else ops.reshape(array, target)
