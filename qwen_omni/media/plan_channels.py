"""Sound that is to be heard by channel. Whatever is made here has one channel, so it goes as it is or not. Pure."""

from qwen_omni.errors import MediaDoesNotFitError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Plan, Wish
from qwen_omni.media.plan_reasons import why_not_as_is
from qwen_omni.media.planning import why_not_this_sound

AS_IT_IS = "sent as it is: it is to be heard by channel"


def loses_channels(info: MediaInfo, plan: Plan) -> bool:
    """Tell whether a plan makes one channel of several."""
    return plan.sound and info.channels != 1


def check_channels(info: MediaInfo, plan: Plan, wish: Wish, *, label: str) -> None:
    """Refuse media that cannot go as it is.

    Args:
        info: what it is; it has several channels.
        plan: what would be done with it otherwise.
        wish: what that was planned for.
        label: how to name it in errors.

    Raises:
        MediaDoesNotFitError: preparing it would leave one channel.
    """
    reason = why_not_this_sound if info.kind == "audio" else why_not_as_is
    why = reason(info, wish, partial=plan.partial)
    if why is None and plan.budget.weigh:
        return
    told = why(info) if why else f"the budget {plan.budget.name!r} asks for another file"
    raise MediaDoesNotFitError(
        f"{label} has {info.channels or 'an unknown number of'} channels of sound, and it cannot go as it is: {told}. "
        "What is prepared has one channel. Send a whole file that fits as it is, or leave multichannel off.",
        limit=1,
        actual=info.channels or 0,
    )
