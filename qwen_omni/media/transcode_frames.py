"""A video → a list of JPEG pictures, each with the exact second of the source that it shows."""

import io
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.containers import open_for_work, picture_stream
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Picture, Plan
from qwen_omni.media.prepared import Still
from qwen_omni.media.reopen import Reopenable
from qwen_omni.media.transcode_picture import Shaper, Stretch, read_pictures
from qwen_omni.media.watch import Watch

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_QSCALE = 5  # of mjpeg: about JPEG quality 80
_MOST_STILLS = 5_000
_QP_UNIT = 118  # FFmpeg's FF_QP2LAMBDA


def make_stills(source: Reopenable, info: MediaInfo, plan: Plan, watch: Watch, *, workers: int) -> tuple[Still, ...]:
    """Give the pictures that a plan wants, in order.

    Raises:
        MediaDoesNotFitError: there would be thousands.
        UnreadableMediaError: none can be decoded.
    """
    assert plan.picture is not None
    picture = plan.picture
    count = None
    if plan.partial and plan.end is not None:
        count = int(-(-(plan.end - plan.start) // picture.period))
    begin = info.origin + plan.start
    stretch = Stretch(begin=begin, period=picture.period, count=count, seek=begin if plan.start else None)
    with (
        source.open() as file,
        open_for_work(file, source.size_bytes, only="video", wanted=stretch.wanted, watch=watch) as container,
    ):
        stream = picture_stream(container)
        if stream is None:
            raise UnreadableMediaError(f"{source.label} has no picture that can be prepared.")
        shaper, painter = Shaper(picture, "yuvj420p"), _Painter(picture)
        stills: list[Still] = []
        key_frames = plan.budget.key_frames
        shown = read_pictures(
            container, stream, stretch, watch, threads=workers, key_frames=key_frames, breaks=info.breaks
        )
        for frame, number, held in shown:
            times = 1 if plan.budget.key_frames else held
            if len(stills) + times > _MOST_STILLS:
                raise _too_many(source.label, picture.period)
            data = painter.paint(shaper.shape(frame))
            stills += [Still(time=plan.start + (number + more) * picture.period, data=data) for more in range(times)]
    if not stills:
        raise UnreadableMediaError(f"{source.label}: none of its pictures can be decoded; it is damaged or cut.")
    return tuple(stills)


def _too_many(label: str, period: Fraction) -> MediaDoesNotFitError:
    seconds = float(_MOST_STILLS * period)
    return MediaDoesNotFitError(
        f"{label} would be more than {_MOST_STILLS:,} pictures, and a list is held in memory. Take at most "
        f"{seconds:,.0f} s of it at once (start, end), or fewer pictures a second.",
        limit=_MOST_STILLS,
        actual=_MOST_STILLS + 1,
    )


class _Painter:
    """Encodes single pictures; FFmpeg's JPEG encoder is twice as quick as Pillow's on frames."""

    def __init__(self, picture: Picture) -> None:
        self._context = av.CodecContext.create("mjpeg", "w")
        self._context.width, self._context.height = picture.size
        self._context.pix_fmt = "yuvj420p"
        self._context.time_base = Fraction(1, 1000)
        self._context.qscale = True
        self._context.global_quality = _QSCALE * _QP_UNIT
        self._number = 0

    def paint(self, frame: "VideoFrame") -> bytes:
        frame.pts, frame.time_base = self._number, Fraction(1, 1000)
        frame.pict_type = 0
        self._number += 1
        held = io.BytesIO()
        for packet in self._context.encode(frame):
            held.write(bytes(packet))
        return held.getvalue()
