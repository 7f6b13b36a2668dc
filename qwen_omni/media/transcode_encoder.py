"""Encode shown pictures as H.264. Several encoders of one plan can each make a piece; the packets join without a seam.

At a few pictures a second neighbours differ so much that B-frames find little between them, and a finer search for
motion or smaller blocks in it find no better matches. Going without them takes a third less time at the same bytes
and the same SSIM (`benchmarks/media.py` shows both), once the rate factor is raised by half a point: x264 codes
P-frames more finely than the B-frames they replace.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

import av

from qwen_omni.media.plan import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_GLOBAL_HEADER = 1 << 22  # FFmpeg's AV_CODEC_FLAG_GLOBAL_HEADER; MP4 wants the parameters in front
_FAR_APART = Fraction(1, 10)  # seconds between two pictures from which on the above was measured
_USUAL_EFFORT = "veryfast"  # any other is a wish of the caller's, and is x264's preset as it is
_FAR_APART_PARAMETERS = "bframes=0:me=dia:partitions=i4x4,i8x8"
_FAR_APART_COARSER = 0.5  # of the constant rate factor


def coding_of(picture: Picture) -> dict[str, str]:
    """Give the options of libx264 for a plan.

    Example:
        >>> coding_of(Picture(size=(1280, 720), period=Fraction(1, 30)))
        {'preset': 'veryfast', 'crf': '26'}
        >>> coding_of(Picture(size=(1280, 720), period=Fraction(1, 4)))["crf"]
        '26.5'
    """
    options = {"preset": picture.effort, "crf": str(picture.quality)}
    if picture.period >= _FAR_APART and picture.effort == _USUAL_EFFORT:
        options |= {"crf": str(picture.quality + _FAR_APART_COARSER), "x264-params": _FAR_APART_PARAMETERS}
    if picture.most_bits is not None:
        options |= {"maxrate": str(picture.most_bits), "bufsize": str(picture.most_bits)}
    return options


def open_encoder(picture: Picture, *, threads: int) -> "VideoCodecContext":
    """Make an H.264 encoder for a plan. Encoders of one plan write the same header, so their packets can be joined."""
    context = av.CodecContext.create("libx264", "w")
    set_up(context, picture)
    context.thread_count = threads
    context.open()
    return context


def set_up(context: "VideoCodecContext", picture: Picture) -> None:
    """Set what an encoder, or the stream that carries its packets, has to know."""
    context.width, context.height = picture.size
    context.pix_fmt = "yuv420p"
    context.time_base = picture.period
    context.framerate = 1 / picture.period
    context.flags |= _GLOBAL_HEADER
    context.options = coding_of(picture)


class PictureEncoder:
    """Encodes shown pictures; packets carry numbers of output pictures as their times."""

    def __init__(self, picture: Picture, *, threads: int = 1) -> None:
        self._context = open_encoder(picture, threads=threads)
        self._delay = self._context.reorder_depth
        self._numbers: list[int] = []
        self._given = 0

    def encode(self, frame: "VideoFrame", number: int, count: int) -> "Iterator[Packet[VideoStream]]":
        """Encode one frame for `count` output pictures from `number` on."""
        frame.time_base = self._context.time_base
        frame.pict_type = 0  # the source's own types are not orders for us
        for shown in range(number, number + count):
            frame.pts = shown
            self._numbers.append(shown)
            yield from self._timed(self._context.encode(frame))

    def end(self) -> "Iterator[Packet[VideoStream]]":
        """Give what is still inside."""
        yield from self._timed(self._context.encode(None))

    def _timed(self, packets: "list[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
        """Set decoding times by rule, so that the packets of several encoders follow each other without a seam."""
        for packet in packets:
            late = self._given - self._delay
            packet.dts = self._numbers[0] + late if late < 0 else self._numbers[late]
            self._given += 1
            yield packet
