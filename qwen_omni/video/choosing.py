"""One call or many: which strategy a video is worked on with. Pure."""

from typing import Literal

from qwen_omni.messages import Sampling
from qwen_omni.profiles import Profile
from qwen_omni.tokens import frames_seen
from qwen_omni.video.footage import Footage
from qwen_omni.video.options import DETAIL_FPS, SummaryOptions

_ROOM = 0.8  # of the largest input, for media; the rest is for words
_SAME_FRAMES = 0.9  # of the frames that segments would be looked at with


def chosen_strategy(footage: Footage, options: SummaryOptions) -> Literal["single", "map_reduce"]:
    """Choose how a video is worked on.

    What is short goes in one call. "auto" takes one call where the model takes the whole and looks at as many frames
    as it would in segments: it has a limit on the frames of a call.
    """
    if options.strategy == "single" or footage.duration <= options.single_call_seconds:
        return "single"
    if options.strategy == "map_reduce":
        return "map_reduce"
    return "single" if one_call_is_as_good(footage, options) else "map_reduce"


def one_call_is_as_good(footage: Footage, options: SummaryOptions) -> bool:
    """Tell whether the model takes the whole in one call and sees as much of it."""
    profile, seconds = footage.profile, footage.duration
    limits = profile.limits
    if footage.look.info.kind == "audio":
        return seconds <= limits.audio_seconds and (footage.whole.tokens or 0) < profile.max_input * _ROOM
    if seconds > limits.video_seconds or (footage.whole.tokens or 0) > profile.max_input * _ROOM:
        return False
    return _frames(profile, float(seconds), options) >= _SAME_FRAMES * DETAIL_FPS[options.detail] * float(seconds)


def _frames(profile: Profile, seconds: float, options: SummaryOptions) -> int:
    fps = DETAIL_FPS[options.detail]
    return frames_seen(profile, seconds, 2 * fps, Sampling(fps=fps))
