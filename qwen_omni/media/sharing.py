"""How many threads work on what: on one file, and on the segments of a film. Pure."""

from fractions import Fraction

from qwen_omni.media.info import MediaInfo

_HUGE_PIXELS = 12_000_000  # more than 4K; a decoder keeps up to 17 pictures of 1.5 bytes a pixel, or twice that
_LARGE_PIXELS = 3_000_000  # two threads at 4K take 420 MB, and four would take 800


def threads_for(info: MediaInfo, *, asked: int | None, usual: int) -> int:
    """Give the number of threads: each has a decoder, so fewer where pictures are large.

    One, whatever was asked for, where two decoders would fill the memory; at most two at 4K unless more were asked for.
    """
    pixels = (info.width or 0) * (info.height or 0) if info.kind == "video" else 0
    if pixels > _HUGE_PIXELS:
        return 1
    return asked or (min(2, usual) if pixels > _LARGE_PIXELS else usual)


def segments_apart(length: Fraction, *, seconds: Fraction, overlap: Fraction, threads: int) -> int:
    """Give how many segments of a film are made by a thread each, in whole rounds; all threads share each later one.

    A thread to a segment is cheapest, but in the last round one has a short segment, or none, and would be idle.

    Example:
        >>> segments_apart(Fraction(600), seconds=Fraction(90), overlap=Fraction(2), threads=2)
        6
        >>> segments_apart(Fraction(120), seconds=Fraction(90), overlap=Fraction(2), threads=2)
        0
    """
    if threads == 1:
        return 0
    count = max(1, -(-(length - overlap) // (seconds - overlap)))
    return int((count - 1) // threads * threads)
