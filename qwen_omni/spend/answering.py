"""How long an answer is taken to be before anybody knows, and the longest that it can be. Pure."""

from dataclasses import dataclass

from qwen_omni.options import ChatOptions
from qwen_omni.profiles import Profile
from qwen_omni.spend.costs import TokenCounts
from qwen_omni.spend.estimates import SPOKEN_SECONDS, USUAL_ANSWER, USUAL_THINKING


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The tokens of an answer: assumed, and at most; `note` says what was assumed."""

    assumed: TokenCounts
    most: TokenCounts
    note: str


def answer_of(profile: Profile, options: ChatOptions, expected: int | None = None) -> Answer:
    """Assume an answer for a call with these options; `expected` is the caller's own guess at its text."""
    longest = min(options.max_tokens or profile.max_output, profile.max_output)
    text = min(USUAL_ANSWER if expected is None else expected, longest)
    thinking = USUAL_THINKING if thinks(profile, options) else 0
    rate = profile.tokens.audio_out
    speaks = options.speaks and rate is not None
    spoken = round(text * SPOKEN_SECONDS * (rate or 0)) if speaks else 0
    most_spoken = round(longest * SPOKEN_SECONDS * (rate or 0)) if speaks else 0
    told = [f"{text:,} tokens of answer"]
    if thinking:
        told.append(f"{thinking:,} of thinking")
    if spoken:
        told.append(f"{spoken:,} of speech")
    most = TokenCounts(
        text_out=longest,
        thinking_out=max(thinking, profile.max_output - longest) if thinking else 0,
        audio_out=most_spoken,
    )
    return Answer(
        assumed=TokenCounts(text_out=text, thinking_out=thinking, audio_out=spoken),
        most=most,
        note=", ".join(told),
    )


def thinks(profile: Profile, options: ChatOptions) -> bool:
    """Tell whether the model will think before it answers."""
    match options.thinking:
        case None:
            return profile.thinks_by_default
        case bool(wanted):
            return wanted and profile.thinking != "none"
        case effort:
            return effort != "none" and profile.thinking != "none"
