"""Pack the same streams into an MP4, unchanged: for containers that the service does not document."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import av

from qwen_omni.media.containers import open_for_work, picture_stream, sound_streams
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.reopen import Reopenable
from qwen_omni.media.timeline import timed_packets
from qwen_omni.media.watch import Watch

if TYPE_CHECKING:
    from av.stream import Stream


def remux(source: Reopenable, info: MediaInfo, path: Path, watch: Watch) -> None:
    """Copy the first picture and the audio that is heard of a file into an MP4."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(source.open())
        container = stack.enter_context(open_for_work(file, source.size_bytes, watch=watch))
        output = stack.enter_context(av.open(str(path), "w", format="mp4"))
        copied: dict[int, Stream] = {}
        for stream in (picture_stream(container), *sound_streams(container, info.audio_track)):
            if stream is not None:
                copied[stream.index] = output.add_stream_from_template(stream)
        for packet in timed_packets(container, info.breaks, *(container.streams[index] for index in copied)):
            watch.check()
            if packet.size == 0 or packet.dts is None:
                continue
            packet.stream = copied[packet.stream.index]
            output.mux(packet)
