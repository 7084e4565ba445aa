"""Advantage actor-critic in step: the gradients of all workers are averaged before each update.

The loss is that of A3C (Mnih et al. 2016, Algorithm S3). Nobody acts on parameters that others are changing,
so that a run is decided by its seed and its number of workers.
"""

import dataclasses

from a3c.algorithms import a3c

ALGORITHM = dataclasses.replace(a3c.ALGORITHM, name="a2c", table="a3c", gathers="gradients")
