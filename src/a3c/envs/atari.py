"""Atari's games through ALE: copies stepped in C++, or one to be watched, both preprocessed as in the papers.

An action is repeated for four frames. The maximum of the last two is made grey and 84 × 84, and four of those
make an observation (Mnih et al. 2015; 2016, section 8). Episodes begin with up to 30 frames without action,
and with the fire button where a game has one. Rewards and ends are the game's own; settings may change them
for learning. The extra `atari` installs what this needs.
"""

import difflib
import re
from typing import Any, Literal

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

from a3c.errors import UsageError

_FRAMES = 4  # repetitions of an action, and frames in an observation
_MAX_NOOPS = 30  # frames without an action before an episode begins
_MAX_FRAMES = 108_000  # of an episode: half an hour
_FRAMES_PER_SECOND = 60


def find_spec(env_id: str) -> EnvSpec | None:
    """The specification of `ALE/<Game>-v5` or `<Game>NoFrameskip-v…`; None for other ids.

    The id decides whether actions are sticky: with v5 a quarter of them are (Machado et al. 2018), with
    NoFrameskip-v4 none, as in the papers of 2015 and 2016.

    Raises:
        UsageError: if ALE is not installed or has no such game.
    """
    if not (env_id.startswith("ALE/") or "NoFrameskip-v" in env_id):
        return None
    try:
        import ale_py  # type: ignore[import-not-found] - an extra, which registers the games
    except ImportError as error:
        fix = f"Install it with: pip install 'a3c[atari]' ({error})."
        raise UsageError(
            f"environment {env_id}", "the Arcade Learning Environment to be installed", fix
        ) from error
    gym.register_envs(ale_py)
    registered = gym.registry.get(env_id)
    if registered is None:
        names = [name for name in gym.registry if name.startswith("ALE/") or "NoFrameskip-v" in name]
        close = difflib.get_close_matches(env_id, names, n=3, cutoff=0.5)
        raise UsageError(
            f"environment {env_id}", "a game of ALE", f"Closest: {', '.join(close)}." if close else ""
        )
    kept = ("game", "repeat_action_probability", "full_action_space")
    return EnvSpec(
        id=env_id,
        entry_point="a3c.envs.atari:make_original",
        vector_entry_point="a3c.envs.atari:make_copies",
        kwargs={name: registered.kwargs[name] for name in kept},
        disable_env_checker=True,
    )


def suggest(name: str) -> list[str]:
    """The ids of the game that an older one means, such as `Pong-v4`, whose frame skips are random."""
    old = re.fullmatch(r"(\w+?)(Deterministic)?-v[04]", name)
    if old is None:
        return []
    try:
        import ale_py  # type: ignore[import-not-found] - an extra
    except ImportError:
        return []
    gym.register_envs(ale_py)
    return [known for known in (f"ALE/{old[1]}-v5", f"{old[1]}NoFrameskip-v4") if known in gym.registry]


def make_copies(
    num_envs: int, game: str, repeat_action_probability: float, full_action_space: bool
) -> VectorEnv:
    """B copies of a game; observations [B, 4, 84, 84] uint8, the newest frame last.

    Each worker is one thread already, and steps its copies in it.
    """
    from ale_py.vector_env import AtariVectorEnv  # type: ignore[import-not-found] - an extra

    return AtariVectorEnv(
        game,
        num_envs,
        num_threads=1,
        repeat_action_probability=repeat_action_probability,
        full_action_space=full_action_space,
        max_num_frames_per_episode=_MAX_FRAMES,
        frameskip=_FRAMES,
        stack_num=_FRAMES,
        noop_max=_MAX_NOOPS,
        reward_clipping=False,
        use_fire_reset=True,
    )


def make_original(
    game: str,
    repeat_action_probability: float,
    full_action_space: bool,
    render_mode: Literal["human", "rgb_array"] | None = None,
) -> gym.Env:
    """One copy of a game, to be watched in colour; the agent sees what it sees in `make_copies`."""
    from ale_py.env import AtariEnv  # type: ignore[import-not-found] - an extra
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    env: gym.Env = AtariEnv(
        game,
        frameskip=1,
        repeat_action_probability=repeat_action_probability,
        full_action_space=full_action_space,
        max_num_frames_per_episode=_MAX_FRAMES,
        render_mode=render_mode,
    )
    env.metadata = {**env.metadata, "render_fps": _FRAMES_PER_SECOND // _FRAMES}
    env = AtariPreprocessing(_Beginning(env), noop_max=0, frame_skip=_FRAMES)
    return FrameStackObservation(env, _FRAMES, padding_type="zero")


class _Beginning(gym.Wrapper):
    """Begins episodes with some frames without action, and one with the fire button, where there is one."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode."""
        seen, info = self.env.reset(seed=seed, options=options)
        meanings = self.unwrapped.get_action_meanings()  # type: ignore[attr-defined] - ALE's own
        noops = int(self.unwrapped.np_random.integers(_MAX_NOOPS + 1))
        fire = [meanings.index("FIRE")] if "FIRE" in meanings else []
        for action in [0] * noops + fire:
            seen, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                seen, info = self.env.reset(options=options)
        return seen, info
