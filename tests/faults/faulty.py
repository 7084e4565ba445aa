"""Environments with one fault each, in workers; those called Once have it once in all."""

import multiprocessing
import os
import signal
import sys
import time
import traceback

import gymnasium as gym
import numpy as np


class Good(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)
    made = 0

    def __init__(self):
        self.t = self.all = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.all += 1
        return self.observe(), self.reward(), self.t >= 20, False, {}

    def observe(self):
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)

    def reward(self):
        return 1.0


def watched():
    """Whether this is a worker, or a crash report is played: not the copies that the master judges in."""
    return multiprocessing.parent_process() is not None or "reproduce" in sys.argv


def once():
    """Whether this is the first time."""
    try:
        os.close(os.open("happened", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def now(self):
    """Whether this is the moment: once in all, in a worker's environment, after some steps."""
    return watched() and self.all >= 50 and once()


class InInit(Good):
    def __init__(self):
        raise ValueError("no simulator here")


class InReset(Good):
    def reset(self, *, seed=None, options=None):
        if watched():
            raise ValueError("the level is missing")
        return super().reset(seed=seed)


class InEvaluationOnce(Good):
    def step(self, action):
        if not watched() and once():
            raise ValueError("the floor is lava")
        return super().step(action)


class InStep(Good):
    def step(self, action):
        if watched() and self.all == 30:
            raise ValueError("the floor is lava")
        return super().step(action)


class InEveryStep(Good):
    def step(self, action):
        raise ValueError("nothing works")


class InStepOnce(Good):
    def step(self, action):
        if now(self):
            raise ValueError("the floor is lava")
        return super().step(action)


class NanOnce(Good):
    def observe(self):
        return np.full(4, np.nan, np.float32) if now(self) else super().observe()


class Infinite(Good):
    def reward(self):
        return float("inf") if self.all == 30 and watched() else 1.0


class ShapeOnce(Good):
    def observe(self):
        return np.zeros(5, np.float32) if now(self) else super().observe()


class KilledOnce(Good):
    def step(self, action):
        if now(self):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class HangsOnce(Good):
    def step(self, action):
        if now(self):
            time.sleep(1000)
        return super().step(action)


class SerialHangsOnce(Good):
    def step(self, action):
        sampled = any("sampler.py" in frame.filename for frame in traceback.extract_stack())
        if sampled and self.all >= 50 and once():
            time.sleep(1000)
        return super().step(action)


class Words(Good):
    observation_space = gym.spaces.Text(20)


class Both(Good):
    action_space = gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.Box(-1, 1, (2,), np.float32))


for cls in [cls for cls in globals().values() if isinstance(cls, type) and issubclass(cls, Good)]:
    gym.register(cls.__name__ + "-v0", entry_point=cls)
