"""One call or many: which strategy a video is worked on with. Pure.

The forecast, every run and both adapters decide here, so none of them promises a call that the model refuses.
"""

from typing import Literal

from qwen_omni.errors import MediaDoesNotFitError
from qwen_omni.media.budget import Sampling
from qwen_omni.options import ChatOptions
from qwen_omni.profiles import Profile
from qwen_omni.spend.answering import thinks
from qwen_omni.tokens import frames_seen
from qwen_omni.video.footage import Footage
from qwen_omni.video.options import DETAIL_FPS, SummaryOptions

_ROOM = 0.8  # of the largest input, for media; the rest is for words
_SAME_FRAMES = 0.9  # of the frames that segments would be looked at with


def chosen_strategy(footage: Footage, options: SummaryOptions) -> Literal["single", "map_reduce"]:
    """Choose how a video is worked on.

    What is short goes in one call, if the model takes so much in one. "auto" takes one call for longer ones, too, where
    the model then looks at as many frames as it would in segments: it has a limit on the frames of a call.

    Raises:
        MediaDoesNotFitError: one call was asked for, and the model does not take so much.
    """
    if options.strategy == "single":
        refusal = one_call_refusal(footage, options)
        if refusal is not None:
            raise refusal
        return "single"
    if one_call_refusal(footage, options, share=_ROOM) is not None:
        return "map_reduce"
    if footage.duration <= options.single_call_seconds:
        return "single"
    return "single" if options.strategy == "auto" and _sees_as_much(footage, options) else "map_reduce"


def one_call_refusal(footage: Footage, options: SummaryOptions, *, share: float = 1) -> MediaDoesNotFitError | None:
    """Return the error that one call about all of it would end with; `None` if the model takes it.

    Args:
        footage: what the call is about.
        options: whether the model thinks first, which leaves some models less room.
        share: of the largest input that media may take.
    """
    profile, seconds, tokens = footage.profile, float(footage.duration), footage.whole.tokens or 0
    limits, label = profile.limits, footage.look.label
    longest = limits.audio_seconds if footage.look.info.kind == "audio" else limits.video_seconds
    advice = "Choose strategy='map_reduce' or 'auto', or a shorter range with start= and end=."
    if seconds > longest:
        return MediaDoesNotFitError(
            f"strategy='single': {seconds:,.1f} s of {label} are wanted, and {profile.name} takes at most "
            f"{longest:,.0f} s in one call. {advice}",
            limit=longest,
            actual=seconds,
        )
    thinking = thinks(profile, ChatOptions(thinking=options.thinking)) and profile.max_input_thinking
    room = (thinking or profile.max_input) * share
    if tokens > room:
        return MediaDoesNotFitError(
            f"strategy='single': {label} makes about {tokens:,} tokens, and {profile.name} has room for {room:,.0f} of "
            f"media in one call. {advice}",
            limit=room,
            actual=tokens,
        )
    return None


def _sees_as_much(footage: Footage, options: SummaryOptions) -> bool:
    """Whether the model looks at as many frames in one call as in segments; sound is heard in full either way."""
    if footage.look.info.kind == "audio":
        return True
    seconds = float(footage.duration)
    return _frames(footage.profile, seconds, options) >= _SAME_FRAMES * DETAIL_FPS[options.detail] * seconds


def _frames(profile: Profile, seconds: float, options: SummaryOptions) -> int:
    fps = DETAIL_FPS[options.detail]
    return frames_seen(profile, seconds, 2 * fps, Sampling(fps=fps))
