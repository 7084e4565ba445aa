"""Proximal policy optimisation in step: APPO whose workers make each step of the optimizer together.

The gradients of all workers, each of a part of its own rollout, are averaged before each update, so that a
run is decided by its seed and its number of workers (Schulman et al. 2017, Algorithm 1, on several machines'
worth of environments as in DD-PPO, Wijmans et al. 2020).
"""

import dataclasses

from a3c.algorithms import appo

ALGORITHM = dataclasses.replace(
    appo.ALGORITHM, name="ppo", settings=appo.PassSettings, table="appo", gathers="gradients"
)
