"""Watching an agent: one episode, step by step, in a window or as a film."""

import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from a3c import envs
from a3c.errors import UsageError
from a3c.spaces import distributions
from a3c.spaces.distributions import Mode, ModeNoise
from a3c.types import Act, Episode
from a3c.utils import seeding
from a3c.utils.files import replacing

OnStep = Callable[[int, float, Any], None]
"""Called with the number of the step from 1, its reward and its action: an `int` or an array."""


def play_episode(
    environment: envs.Environment,
    act: Act,
    *,
    noise: ModeNoise | None = None,
    state_size: int = 0,
    mode: Mode = "greedy",
    seed: int = 0,
    window: bool = False,
    video: Path | None = None,
    on_step: OnStep | None = None,
) -> Episode:
    """Play one episode to its end.

    Args:
        environment: What to play.
        act: Maps observations [1, *O] to policy parameters [1, A].
        noise: How actions are drawn in each mode; default: as from a policy.
        state_size: S; 0: the network has no memory.
        mode: `greedy`, the most probable actions, or `sampled`.
        seed: Seed of the environment and of the draws.
        window: Show it on the screen while it is played.
        video: Write it to this file, `.mp4` or `.gif`.
        on_step: Called after each step.

    Raises:
        UsageError: if the environment cannot be shown that way, or the film cannot be written.
    """
    if video is not None:
        check_video(video)
    render_mode = "rgb_array" if video is not None else "human" if window else None
    env = envs.make_single(environment.spec, render_mode)
    if render_mode is not None and render_mode not in env.metadata.get("render_modes", []):
        env.close()
        received = f"{environment.id} to be shown as {render_mode}"
        raise UsageError(received, "an environment that can draw itself")
    try:
        choose = _chooser(environment, act, noise or ModeNoise(environment.actions), state_size, mode, seed)
        episode, frames = _run(env, choose, seed, video is not None, on_step)
    finally:
        env.close()
    if video is not None:
        write_video(video, frames, env.metadata.get("render_fps", 30))
    return episode


def _chooser(environment, act, noise, state_size, mode, seed) -> Callable[[Any], Any]:
    """What the agent does next: a function from an observation to an action as the environment takes it."""
    generator, actions = seeding.generator(seed, "play"), environment.actions
    memory = np.zeros((1, state_size), np.float32) if state_size else None

    def choose(observation: Any) -> Any:
        nonlocal memory
        packed, _ = environment.observations.pack_any(observation)
        parameters, memory = act(packed, memory)
        chosen = actions.choose(parameters, noise.draw(mode, generator, (1,)))
        return distributions.first(actions.to_env(chosen))

    return choose


class PackedFrames:
    """The frames of a film. As they are, those of a long episode would fill the memory."""

    def __init__(self) -> None:
        self._packed: list[tuple[tuple[int, ...], bytes]] = []

    def append(self, frame: np.ndarray) -> None:
        """Take in one, [H, W, 3] uint8."""
        self._packed.append((frame.shape, zlib.compress(frame.tobytes(), 1)))

    def __iter__(self) -> Iterator[np.ndarray]:
        for shape, packed in self._packed:
            yield np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)


def _run(env, choose, seed, record, on_step) -> tuple[Episode, PackedFrames]:
    observation, _ = env.reset(seed=seeding.integer_seed(seed, "play"))
    frames = PackedFrames()
    if record:
        frames.append(env.render())
    total, length, done = 0.0, 0, False
    while not done:
        action = choose(observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, length, done = total + float(reward), length + 1, terminated or truncated
        if record:
            frames.append(env.render())
        if on_step is not None:
            on_step(length, float(reward), action)
    return Episode(total, length), frames


def has_display() -> bool:
    """Whether a window would be seen: SDL draws happily into nothing, so it must be asked first."""
    if os.environ.get("SDL_VIDEODRIVER") == "dummy":
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_video(path: Path) -> None:
    """Raise `UsageError`, before anything is played, for a film that could not be written."""
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise UsageError(f"video {path}", "a file ending in .mp4 or .gif")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"video {path}", "a file in an existing directory")
    if path.suffix.lower() == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError as error:
            fix = "Install it with: pip install 'a3c[video]', or write a .gif, which needs nothing more."
            raise UsageError(f"video {path}", "PyAV to be installed for .mp4", fix) from error


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames [H, W, 3] uint8, one or more, to a `.gif` or `.mp4`, as a whole or not at all."""
    with replacing(path) as temporary:
        _write_frames(temporary, frames, fps)


def _write_frames(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    if path.suffix.lower() == ".gif":
        from PIL import Image

        images = map(Image.fromarray, frames)
        duration = max(20, round(1000 / fps))  # viewers slow down frames shorter than 20 ms
        next(images).save(path, save_all=True, append_images=images, duration=duration, loop=0)
        return
    import av

    height, width = (size // 2 * 2 for size in next(iter(frames)).shape[:2])  # the codec wants even sizes
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
