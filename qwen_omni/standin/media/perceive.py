"""Turn media parts into facts: fetch, decode, measure and count tokens. `rules.media_limits` checks them.

Decoding is done by `video_decode`, `audio_decode` and `image_decode` and cached by content, so that the same media in
the next turn of a conversation costs nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qwen_omni.standin.media.audio_decode import with_audio
from qwen_omni.standin.media.facts import ColourSpan, Kind, MediaFacts, Observed, ReadText, Scene
from qwen_omni.standin.media.image_decode import with_image
from qwen_omni.standin.media.open import AUDIO_CONTAINERS, VIDEO_CONTAINERS, UnreadableMediaError, open_media
from qwen_omni.standin.media.video_decode import MarkLog, with_frames
from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.media_limits import check_counts, check_facts, check_frame_count, check_size
from qwen_omni.standin.rules.refusal import algo
from qwen_omni.standin.rules.tokens import audio_tokens, frame_tokens, image_tokens, video_tokens

if TYPE_CHECKING:
    from qwen_omni.standin.rules.limits import MediaLimits
    from qwen_omni.standin.rules.messages import MediaPart
    from qwen_omni.standin.rules.tokens import Sampling, TokenRule
    from qwen_omni.standin.stores.intake import Intake, Visitor

_FRAME_LIST_FPS = 2.0


@dataclass(slots=True)
class Memory:
    """A cache of facts by content, shared by all requests of one stand-in."""

    _known: dict[tuple[str, str], MediaFacts] = field(default_factory=dict)
    _locks: defaultdict[tuple[str, str], threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def recall(self, kind: Kind, data: bytes) -> MediaFacts:
        """Return the facts of one file, decoding it the first time.

        Raises:
            UnreadableMediaError: It cannot be decoded as media of this kind.
        """
        digest = hashlib.sha256(data).hexdigest()
        with self._locks[kind, digest]:  # each file is decoded once, different files concurrently
            known = self._known.get((kind, digest))
            if known is None:
                known = _DECODERS[kind](MediaFacts(kind=kind, container="", size_bytes=len(data), sha256=digest), data)
                known = replace(known, observed=Observed()) if known.marked else known
                self._known[kind, digest] = known
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class Perception:
    """Everything needed to check the media of one request."""

    intake: Intake
    memory: Memory
    limits: MediaLimits
    visitor: Visitor

    def perceive(self, parts: list[MediaPart]) -> list[MediaFacts]:
        """Return the facts of all parts, in order.

        Raises:
            Refusal: The model does not accept this media.
        """
        check_counts(self.limits, parts)
        return [self._one(part) for part in parts]

    def _one(self, part: MediaPart) -> MediaFacts:
        if part.kind != "frames":
            facts = self._file(part.kind, part.urls[0])
        else:
            check_frame_count(self.limits, len(part.urls))
            images = [self._file("image", url) for url in part.urls]
            facts = _joined(images, part.sampling.fps or _FRAME_LIST_FPS)
        return _counted(self.limits.tokens, facts, part.sampling)

    def _file(self, kind: Kind, url: str) -> MediaFacts:
        data = self.intake.fetch(url, visitor=self.visitor)
        check_size(self.limits, kind, len(data))
        try:
            facts = self.memory.recall(kind, data)
        except UnreadableMediaError as error:
            bad_audio = refusal.BAD_AUDIO if data else refusal.EMPTY_AUDIO
            raise algo({"image": refusal.BAD_IMAGE, "audio": bad_audio, "video": refusal.BAD_VIDEO}[kind]) from error
        check_facts(self.limits, facts)
        return facts


def _joined(images: list[MediaFacts], fps: float) -> MediaFacts:
    """Join the images of a frame list into one part: frame n is shown at n / fps."""
    log, colours = MarkLog(), list[ColourSpan]()
    for index, image in enumerate(images):
        log.read(image.picture_codes, index / fps)
        for span in image.colours:
            if not colours or colours[-1].name != span.name:
                colours.append(ColourSpan(name=span.name, start=index / fps))
    digest = hashlib.sha256("".join(image.sha256 for image in images).encode()).hexdigest()
    marks = log.close(len(images) / fps)
    observed = Observed() if any(image.marked for image in images) else _observed_frames(images, fps)
    return MediaFacts(
        kind="frames",
        container=images[0].container,
        size_bytes=sum(image.size_bytes for image in images),
        sha256=digest,
        width=images[0].width,
        height=images[0].height,
        fps=fps,
        duration=len(images) / fps,
        frames=len(images),
        picture_marks=marks,
        colours=tuple(colours),
        observed=observed,
    )


def _observed_frames(images: list[MediaFacts], fps: float) -> Observed:
    """Join what was observed in each image; images of one colour after each other are one scene."""
    scenes: list[Scene] = []
    text: list[ReadText] = []
    for index, image in enumerate(images):
        start, end = index / fps, (index + 1) / fps
        text += [replace(line, start=start, end=end) for line in image.observed.text]
        for scene in image.observed.scenes:
            if scenes and scenes[-1].colours[0][0] == scene.colours[0][0]:
                scenes[-1] = replace(scenes[-1], end=end)
            else:
                scenes.append(replace(scene, start=start, end=end, opening="cut" if scenes else "start"))
    return Observed(scenes=tuple(scenes), text=tuple(text), reads_text=images[0].observed.reads_text)


def decode_audio(facts: MediaFacts, data: bytes, containers: str = AUDIO_CONTAINERS) -> MediaFacts:
    """Add what the audio of a file holds.

    Raises:
        UnreadableMediaError: It is not one of these containers, or has no audio.
    """
    with open_media(data, containers) as container:
        facts = with_audio(replace(facts, container=container.format.name), container)
    if not facts.sound:
        raise UnreadableMediaError("no sound stream")
    return replace(facts, codec=facts.sound_codec, duration=facts.sound_duration)


def _decode_video(facts: MediaFacts, data: bytes) -> MediaFacts:
    with open_media(data, VIDEO_CONTAINERS) as container:
        facts = with_frames(replace(facts, container=container.format.name), container)
    with open_media(data, VIDEO_CONTAINERS) as container:
        return with_audio(facts, container)


_DECODERS = {"image": with_image, "audio": decode_audio, "video": _decode_video}


def _counted(rule: TokenRule, facts: MediaFacts, sampling: Sampling) -> MediaFacts:
    """Add the tokens of a part, as counted for this model."""
    size = (facts.width, facts.height)
    frames = 0
    if facts.kind == "image":
        frames = image_tokens(rule, *size, sampling)
    elif facts.kind == "video":
        frames = video_tokens(rule, size, facts.duration, facts.fps, sampling)
    elif facts.kind == "frames":
        frames = frame_tokens(rule, size, facts.frames, sampling)
    return replace(facts, picture_tokens=frames, sound_tokens=audio_tokens(rule, facts.sound_duration))
