"""Why a file cannot be sent as it is: the facts that rule it out, each with the words for it. Pure."""

from collections.abc import Callable

from qwen_omni.delivery.formats import VIDEO_CONTAINERS
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Wish
from qwen_omni.media.plan_costs import room_for
from qwen_omni.media.signatures import ANIMATED

Reason = Callable[[MediaInfo], str]

# Codecs that any reader of video understands. Others are turned into H.264.
_USUAL_PICTURES = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"})
_USUAL_SOUNDS = ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "amr_nb", "amr_wb", "wmav2", "pcm_")


def only_a_part(_: MediaInfo) -> str:
    """The range is less than the whole."""
    return "only a part of it is wanted"


def turned(info: MediaInfo) -> str:
    """It is stored turned or mirrored."""
    told = (f"turned by {info.rotation} degrees" * (info.rotation != 0), "mirrored" * info.mirrored)
    return f"its picture has to be {' and '.join(one for one in told if one)}"


def colours_differ(info: MediaInfo) -> str:
    """Readers of pictures disagree on what its colours are."""
    told = {
        "transparent": "it is partly transparent, and is laid on white",
        "deep": "its grey has more than eight bits",
        "print": "its colours are for print",
    }
    return told[info.colours]


def unpacked(info: MediaInfo) -> str:
    """It was unpacked, since nothing reads it as it is."""
    if info.container not in ANIMATED:
        return f"a bare {info.video_codec} stream has no times"
    held = f"; its last frame is held for {float(info.held):g} s more, as long as a video must be" * bool(info.held)
    return f"an animation of {info.frame_count:,} frames is sent as a video{held}"


def undocumented(info: MediaInfo) -> str:
    """The container is not one that the service documents."""
    return f"the service does not document {info.container} files"


def too_large(info: MediaInfo) -> str:
    """The file has no room in any way of delivery."""
    return f"{info.size_bytes:,} bytes are more than can be delivered"


def other_track(info: MediaInfo) -> str:
    """Another audio track is heard than the one that players take by themselves."""
    return (
        "of its audio tracks players take another"
        if info.audio_track != "mix"
        else "of its audio tracks players take one"
    )


def _hides_frames(info: MediaInfo) -> str:
    total = (info.frame_count or 0) + info.hidden_frames
    return f"an edit list hides {info.hidden_frames:,} of its {total:,} frames, which not every reader honours"


def takes_other_track(info: MediaInfo) -> bool:
    """Whether players would take another audio track: they take the default one, or else the first."""
    if len(info.audio_tracks) < 2:  # noqa: PLR2004 - nothing to choose from
        return False
    usual = next((track.index for track in info.audio_tracks if track.default), 0)
    return info.audio_track != 0 or usual != 0


BROKEN: tuple[tuple[Callable[[MediaInfo], bool], Reason], ...] = (
    (
        lambda info: bool(info.breaks),
        lambda info: f"its clock restarts or jumps at second {float(info.breaks[0].at - info.origin):,.2f}",
    ),
    (
        lambda info: info.sound_changes is not None,
        lambda info: f"its audio changes its rate or channels at second {float(info.sound_changes or 0):,.2f}",
    ),
    (lambda info: info.hidden_frames > 0, _hides_frames),
)
"""What readers disagree about, so that a file is made anew."""


_ODD: tuple[tuple[Callable[[MediaInfo], bool], Reason], ...] = (
    (lambda info: info.rotation != 0, turned),
    (lambda info: info.interlaced, lambda _: "it is interlaced"),
    (lambda info: info.pixel_aspect != 1, lambda info: f"its pixels are not square ({info.pixel_aspect})"),
    (
        lambda info: info.video_codec not in _USUAL_PICTURES,
        lambda info: f"its codec ({info.video_codec}) is not one that every reader has",
    ),
    (
        lambda info: info.audio_codec is not None and not info.audio_codec.startswith(_USUAL_SOUNDS),
        lambda info: f"its sound ({info.audio_codec}) is not one that every reader has",
    ),
)
"""What not every reader of video can show or play."""


def why_not_as_is(info: MediaInfo, wish: Wish, *, partial: bool) -> Reason | None:
    """Tell why a video must be made anew; `None` if it could go as it is. That its container is odd comes last."""
    told = (
        (info.unpacked, unpacked),
        (partial, only_a_part),
        *((holds(info), reason) for holds, reason in BROKEN),
        *((holds(info), reason) for holds, reason in _ODD),
        (info.size_bytes > room_for(wish.profile.limits.video_bytes, wish), too_large),
        (takes_other_track(info), other_track),
        (info.container not in VIDEO_CONTAINERS, undocumented),
    )
    return next((reason for holds, reason in told if holds), None)
