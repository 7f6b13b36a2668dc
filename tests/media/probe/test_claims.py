"""Small files that claim much: years, hours between two frames, pictures without end, one sample a second.

Each was found by thinking about what a number in a header makes the engine do. The watch ends all that has no
bound of its own, so these tests state that work ends in a typed error or a true result, not how fast.
"""

import io
import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest

from qwen_omni.errors import MediaDoesNotFitError, MediaError, UnreadableMediaError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.prepare import PrepareOptions, prepare
from qwen_omni.media.work import usual_limit
from tests.support import making


def _silent_film(times: list[float], size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a Matroska film with one picture at each of these seconds."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        frames = ((round(at * 1000), making.grey_frame(number, size)) for number, at in enumerate(times))
        making.add_frames(output, stream, frames, stream.time_base, size)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


def _film_of(pictures: list[bytes], size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as output:
        stream = output.add_mux_stream("png", rate=10, width=size[0], height=size[1])
        stream.time_base = Fraction(1, 10)
        for number, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            output.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_length_of_thirty_years_is_not_believed(workers):
    """A film that says it lasts for a billion seconds is told and prepared as long as it is."""
    data = bytearray(_silent_film([number / 10 for number in range(60)]))
    at = data.index(b"\x44\x89\x88") + 3  # Matroska's element for the length: a 64-bit float of milliseconds
    data[at : at + 8] = struct.pack(">d", 1e12)

    with prepare(bytes(data), budget="static", choices=PrepareOptions(workers=workers)) as made:
        assert float(made.source_info.duration) == pytest.approx(6, abs=0.1)
        assert float(made.info.duration) == pytest.approx(6, abs=0.1)


def test_the_time_for_a_file_does_not_grow_with_its_claims():
    """A length that a header claims does not make the limit on the work endless; honest films keep theirs."""
    assert usual_limit(1e9, 100_000) == usual_limit(1e6, 100_000) < 15_000
    assert usual_limit(7200, 50_000_000) > 10 * 7200


@pytest.mark.parametrize("workers", [1, 2])
def test_the_time_is_up_within_a_frame_that_stands_for_an_hour(workers):
    """The limit holds while one frame is coded again and again, not only between packets of the source."""
    data = _silent_film([0.0, 3500.0], size=(1280, 720))
    with pytest.raises(UnreadableMediaError, match="not finished within"):
        prepare(data, budget="action", choices=PrepareOptions(workers=workers, limit_seconds=0.5))


def test_a_list_of_pictures_has_an_end():
    """A list is held in memory; one of thousands is refused with the length that would do."""
    data = _silent_film([0.0, 3500.0])
    with pytest.raises(MediaDoesNotFitError, match="1,250 s") as caught:
        prepare(data, budget=MediaBudget(fps=4, frames=True))
    assert caught.value.limit == 5_000


@pytest.mark.parametrize("size", [(20_000, 20_000), (65_000, 600)])
def test_pictures_beyond_8k_are_refused(size):
    """A small file that claims a huge picture is refused; no memory is taken for it."""
    data = _film_of([_png(*size)] * 3, size)
    with pytest.raises(UnreadableMediaError):
        prepare(data, budget="static")


def test_pictures_that_become_huge_in_the_middle_are_passed_over():
    """A picture hundreds of times as large as those before counts as damaged."""
    small = [making.picture("PNG", (32, 24))] * 10
    data = _film_of([*small, _png(5_900, 5_900), *small], (32, 24))
    with prepare(data, budget="static") as made:
        assert (made.info.width, made.info.height) == (32, 24)


def test_sound_at_one_sample_a_second_is_refused():
    """A rate that would make hours of a few bytes is nonsense."""
    data = bytearray(making.wav(1))
    data[24:28] = struct.pack("<I", 1)
    with pytest.raises(MediaError):
        prepare(bytes(data), budget=MediaBudget(sample_rate=8_000), start=1, end=100)


def test_sound_that_is_no_number_comes_to_an_end():
    """Damaged floating-point sound decodes to NaN and infinity, on which FFmpeg's AAC encoder never ends."""
    buffer = io.BytesIO(making.video("matroska", "mpeg4", 3))
    with av.open(buffer) as film, av.open(held := io.BytesIO(), "w", format="matroska") as output:
        picture = output.add_stream_from_template(film.streams.video[0])
        sound = output.add_stream("pcm_f32le", rate=16_000, layout="mono")
        for packet in film.demux():
            if packet.dts is not None:
                packet.stream = picture
                output.mux(packet)
        samples = np.full((1, 48_000), np.nan, np.float32)
        samples[0, ::3], samples[0, ::7] = np.inf, 0.5
        making.add_samples(output, sound, [samples])
    with prepare(held.getvalue(), budget="static") as made:
        assert made.info.has_audio
