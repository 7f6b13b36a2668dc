"""Describe ordinary media in words, from what was measured in it: sentences for people, phrases for the fields of JSON.

Nothing is recognised, and the answer says so. Times in sentences are those of the file; `offset` is the second of the
file at which the part begins, if the request states it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qwen_omni.standin.media.ocr import INSTALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qwen_omni.standin.media.facts import AudioSpan, MediaFacts, Scene

MEASURED = "This is measured, not understood: the stand-in does not recognise"
UNREAD = "Text in pictures is read after"
_MOST = 24
_FEW = 6  # scenes that a summary lists
_MINUTE = 60
_SQUARE = 1.05
_BRIGHTNESS = ((30, "very dark"), (85, "dark"), (170, "medium bright"), (256, "bright"))
_MOVEMENT = ((0.6, "no movement"), (3.0, "little movement"), (10.0, "some movement"), (1e9, "lively movement"))
_LOUDNESS = ((-45, "very quiet"), (-32, "quiet"), (-18, "of ordinary loudness"), (1e9, "loud"))
_TOPICS = {
    "cuts": r"cuts?|scenes?|shots?|chang\w+|transitions?|edit\w*",
    "colours": r"colou?rs?|look\w*|dark\w*|bright\w*|light|mov\w+|still|pan\w*"
    r"|red|green|blue|grey|gray|yellow|brown|orange|pink|purple|black|white",
    "brightness": r"bright\w*|dark\w*|light|night|black|fad\w+|blank",
    "frozen": r"fr[oe]ez\w*|frozen|stuck|stop\w*|still",
    "audio": r"sounds?|audio|hear\w*|loud\w*|quiet\w*|silen\w+|music|nois\w+|tones?|volume|listen\w*",
    "text": r"text|read\w*|writ\w+|words?|titles?|subtitles?|signs?|caption\w*|letters?",
}  # fmt: skip


_BEYOND = re.compile(
    r"\b(?:who|whom|whose|names?|person|people|man|woman|say|says|said|speaks?|spoken|speech|transcri\w+|brands?|products?"
    r"|objects?|animals?|sold|city|country)\b",
    re.IGNORECASE,
)


def asks_beyond(question: str) -> bool:
    """Whether a question asks for something that is not recognised."""
    return bool(_BEYOND.search(question))


def sentences(facts: MediaFacts, question: str, offset: float) -> list[str]:
    """Return what is known about a part; what the question asks about comes first."""
    asked = [topic for topic, words in _TOPICS.items() if re.search(rf"\b(?:{words})\b", question, re.IGNORECASE)]
    ordered = sorted(_sentences(facts, offset), key=lambda one: one[0] not in asked)
    return [text for _, text in ordered]


def limits(media: Sequence[MediaFacts]) -> str:
    """Return what is not recognised in these media, in one sentence."""
    pictured = any(facts.kind != "audio" for facts in media)
    heard = any(facts.sound for facts in media)
    unknown = ["objects", "people", "names"] * pictured + ["speech"] * heard
    unread = pictured and not any(facts.observed.reads_text for facts in media)
    text = f" {UNREAD} {INSTALL}." if unread else ""
    return f"{MEASURED} {_listed(unknown, 'or')}.{text}"


def at(facts: MediaFacts, second: float, offset: float) -> list[str]:
    """Return what is known about one second of a part, counted as in the question."""
    time = second - offset
    if facts.kind == "image":
        return []
    if not 0 <= time < facts.duration:
        span = f"from {_time(offset, facts, offset)} " if offset else ""
        return [f"the {facts.kind} goes {span}to {_time(facts.duration, facts, offset)}"]
    scene = next((one for one in facts.observed.scenes if one.start <= time < one.end), None)
    heard = next((one for one in facts.observed.audio if one.start <= time < one.end), None)
    return [*([scene_phrase(scene)] if scene else []), *([_audio_phrase(heard)] if heard else [])]


def summary(facts: MediaFacts, *, timed: bool) -> list[str]:
    """Return the most important facts as sentences; without `timed`, none of them mentions a time."""
    found = _overview(facts)
    if timed:
        left_out = {"audio"} | ({"colours"} if len(facts.observed.scenes) > _FEW else set())
        texts = [text for topic, text in _sentences(facts, 0.0) if topic not in left_out or not found]
        return [f"{facts.kind.capitalize()} of {shape(facts)}.", *found, *texts]
    seen = [line.text for line in facts.observed.text]
    return [*found, f"Text in the picture: {_quoted(dict.fromkeys(seen))}."] if seen else found


def _overview(facts: MediaFacts) -> list[str]:
    scenes, texts = facts.observed.scenes, []
    if scenes and facts.kind == "image":
        texts.append(f"A {_colours(scenes)} image, {_word(scenes[0].brightness, _BRIGHTNESS)}.")
    elif scenes:
        count = "One scene" if len(scenes) == 1 else f"{len(scenes)} scenes"
        bright = _word(_mean(scenes, "brightness"), _BRIGHTNESS)
        texts.append(f"{count}, mostly {_colours(scenes)}, {bright}, {_word(_mean(scenes, 'movement'), _MOVEMENT)}.")
    if facts.sound:
        texts.append(_audio_overview(facts))
    elif facts.kind == "video":
        texts.append("There is no sound.")
    return texts


def phrases(facts: MediaFacts) -> list[str]:
    """Return short observations without times, for lists of short texts."""
    scenes, texts = facts.observed.scenes, []
    if scenes:
        texts.append(f"mostly {_colours(scenes)}")
        texts.append(_word(_mean(scenes, "brightness"), _BRIGHTNESS))
    if scenes and facts.kind == "video":
        texts.append(_word(_mean(scenes, "movement"), _MOVEMENT))
        texts.append("one scene" if len(scenes) == 1 else f"{len(scenes)} scenes")
    kinds = dict.fromkeys(_kind_words(span) for span in facts.observed.audio if span.kind != "silence")
    texts += [f"{kind} {_loudness(facts)}".strip() for kind in kinds]
    if facts.kind == "video" and not facts.sound:
        texts.append("no sound")
    return texts + [f'the text "{line.text}"' for line in facts.observed.text]


def moment_phrases(facts: MediaFacts) -> list[tuple[float, float, str]]:
    """Return what happens when: one entry per scene, or per stretch of audio where there are no frames."""
    observed = facts.observed
    if not observed.scenes:
        return [(span.start, span.end, _sentence(_audio_phrase(span))) for span in observed.audio]
    found = []
    for scene in observed.scenes:
        heard = _heard_in(scene, observed.audio)
        read = [line.text for line in observed.text if line.start < scene.end and line.end >= scene.start]
        text = f"; the text {_quoted(read)} can be read" if read else ""
        found.append((scene.start, scene.end, _sentence(f"{scene_phrase(scene)}{heard}{text}")))
    return found


def _sentence(phrase: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}."


def title(what: str) -> str:
    """Return a title of a few words for a moment, from its phrase.

    Example:
        >>> title("A grey and brown scene, dark, little movement; silence.")
        'Grey and brown, little movement'
    """
    match = re.match(r"An? (.+?) scene, (?:[^,;]*), ([^,;.]*)", what)
    if match:
        return f"{match[1][0].upper()}{match[1][1:]}, {match[2]}"
    words = ", ".join(what.partition(". ")[0].rstrip(".").split(", ")[:2])
    return f"{words[:1].upper()}{words[1:]}"


def scene_phrase(scene: Scene) -> str:
    """Return what a scene looks like, without a time."""
    colours, _, rest = _look(scene).partition(", ")
    return f"{'an' if colours[:1] in 'aeiou' else 'a'} {colours} scene, {rest}"


def _look(scene: Scene) -> str:
    colours, bright = _listed([name for name, _ in scene.colours[:2]]), _word(scene.brightness, _BRIGHTNESS)
    moves = {"left": "panning", "right": "panning", "up": "tilting", "down": "tilting"}
    pan = f", the camera {moves[scene.pan]} {scene.pan}" if scene.pan else ""
    return f"{colours}, {bright}, {_word(scene.movement, _MOVEMENT)}{pan}"


def tempo(media: Sequence[MediaFacts]) -> str:
    """Return the pace of the cuts and movements: slow, moderate or fast."""
    videos = [facts for facts in media if facts.observed.scenes and facts.duration > 0]
    if not videos:
        return "moderate"
    seconds = max(facts.duration / len(facts.observed.scenes) for facts in videos)
    moving = max(_mean(facts.observed.scenes, "movement") for facts in videos)
    return "fast" if seconds < 4 or moving > 15 else "slow" if seconds > 12 and moving < 3 else "moderate"  # noqa: PLR2004


def shape(facts: MediaFacts) -> str:
    """Return the format and the size of a part; of ordinary media in more words than of marked ones."""
    wide, high = facts.width, facts.height
    size = f"{wide}x{high}"
    if not facts.marked:
        upright = "portrait" if high > wide else "landscape"
        size += f" ({upright if max(wide, high) > _SQUARE * min(wide, high) else 'square'})"
    if facts.kind == "image":
        return f"{size}, {facts.container}"
    if facts.kind == "frames":
        return f"{facts.frames} frames, {size}, {facts.fps:g} fps"
    audio, codec = "no sound", facts.sound_codec
    if facts.sound and facts.marked:
        audio = f"{codec} {facts.sample_rate} Hz {facts.channels} channel(s)"
    elif facts.sound:
        audio = f"{codec.removesuffix('float')} {facts.sample_rate} Hz {_counted(facts.channels, 'channel')}"
    if facts.kind == "audio":
        return f"{facts.duration:.1f} s, {audio}"
    frames = f"{facts.frames} frames" if facts.marked else _counted(facts.frames, "frame")
    return f"{facts.duration:.1f} s, {size}, {facts.fps:g} fps, {frames}, {facts.codec}, {audio}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _sentences(facts: MediaFacts, offset: float) -> list[tuple[str, str]]:
    """Return all sentences about a part, each with its topic."""
    scenes, texts = facts.observed.scenes, list[tuple[str, str]]()
    if scenes and facts.kind == "image":
        shares = ", ".join(f"{name} {share:.0%}" for name, share in scenes[0].colours)
        bright = _word(scenes[0].brightness, _BRIGHTNESS)
        texts += [("colours", f"Colours: {shares}."), ("brightness", f"The image is {bright}.")]
    elif scenes:
        texts += [("cuts", _cuts(facts, offset)), ("colours", _scenes(facts, offset)), *_dark(facts, offset)]
    texts += [
        ("text", f"A QR code reads {_quoted([mark.code])}{_within(mark.start, mark.end, facts, offset)}.")
        for mark in facts.picture_marks
    ]
    texts += [("text", text) for text in _text(facts, offset)]
    if facts.sound:
        texts.append(("audio", _audio(facts, offset)))
    return texts


def _cuts(facts: MediaFacts, offset: float) -> str:
    changes = facts.observed.scenes[1:]
    if not changes:
        return "There are no cuts: it is one scene."
    texts = []
    for kind, word in (("cut", "cut"), ("fade", "fade through black")):
        times = [_time(scene.start, facts, offset) for scene in changes if scene.opening == kind]
        plural = word.replace(kind, f"{kind}s", 1) if len(times) > 1 else word
        texts += [f"{len(times)} {plural} at {_first(times, ', ', ' and {} more')}"] if times else []
    return f"{'; '.join(texts)}."


def _scenes(facts: MediaFacts, offset: float) -> str:
    spans = [f"{_span(scene.start, scene.end, facts, offset)} {_look(scene)}" for scene in facts.observed.scenes]
    return f"Scenes: {_first(spans, '; ', '; and {} more scenes')}."


def _dark(facts: MediaFacts, offset: float) -> list[tuple[str, str]]:
    texts = []
    for topic, words, spans in (
        ("brightness", "The picture is black", facts.observed.black),
        ("frozen", "The picture is frozen", facts.observed.frozen),
    ):
        times = [_span(start, end, facts, offset) for start, end in spans[:_MOST]]
        texts += [(topic, f"{words} {', '.join(times)}.")] if times else []
    return texts


def _text(facts: MediaFacts, offset: float) -> list[str]:
    if facts.kind == "audio" or not facts.observed.reads_text:
        return []
    read = [f"{_quoted([line.text])}{_within(line.start, line.end, facts, offset)}" for line in facts.observed.text]
    return [f"Text in the picture: {', '.join(read[: 2 * _MOST])}." if read else "No text was read in the picture."]


def _audio(facts: MediaFacts, offset: float) -> str:
    if facts.loudness is None:
        return "The sound is silent."
    spans = [f"{_span(span.start, span.end, facts, offset)} {_audio_phrase(span)}" for span in facts.observed.audio]
    loud = [f"{_time(time, facts, offset)} ({level:.0f} dBFS)" for time, level in facts.observed.loud]
    peaks = f" Loudest at {', '.join(loud)}." if loud else ""
    mean = f"on average {facts.loudness:.1f} dBFS, {_word(facts.loudness, _LOUDNESS)}"
    return f"Sound: {_first(spans, '; ', '; and {} more')}; {mean}.{peaks}"


def _audio_overview(facts: MediaFacts) -> str:
    if facts.loudness is None:
        return "The sound is silent."
    kinds = list(dict.fromkeys(_kind_words(span) for span in facts.observed.audio))
    return f"Heard: {_listed(kinds)}, {_loudness(facts)}." if kinds else f"There is sound, {_loudness(facts)}."


def _audio_phrase(span: AudioSpan) -> str:
    if span.kind == "tone":
        return f"a tone of {span.pitch:.0f} Hz"
    level = "" if span.level is None else f" ({span.level:.0f} dBFS)"
    return f"{_kind_words(span)}{level}"


def _kind_words(span: AudioSpan) -> str:
    names = {"silence": "silence", "tone": "a tone", "sound": "unclassified sound"}
    return names.get(span.kind, f"{span.kind} sound")


def _heard_in(scene: Scene, spans: Sequence[AudioSpan]) -> str:
    """Return what is heard during most of a scene."""
    shared = [(min(span.end, scene.end) - max(span.start, scene.start), span.kind, span) for span in spans]
    longest = max((one for one in shared if one[0] > 0), key=lambda one: one[0], default=None)
    speech = next((one for one in shared if one[1] == "speech-like" and one[0] >= 1), None)
    chosen = speech or longest
    return f"; {_kind_words(chosen[2])}" if chosen else ""


def _loudness(facts: MediaFacts) -> str:
    return "" if facts.loudness is None else _word(facts.loudness, _LOUDNESS)


def _colours(scenes: Sequence[Scene]) -> str:
    weights: dict[str, float] = {}
    for scene in scenes:
        for name, share in scene.colours:
            weights[name] = weights.get(name, 0.0) + share * max(scene.end - scene.start, 1e-3)
    return _listed(sorted(weights, key=lambda name: -weights[name])[:2])


def _mean(scenes: Sequence[Scene], name: str) -> float:
    lengths = [max(scene.end - scene.start, 1e-3) for scene in scenes]
    weighed = sum(float(getattr(scene, name)) * one for scene, one in zip(scenes, lengths, strict=True))
    return weighed / sum(lengths)


def _word(value: float, table: tuple[tuple[float, str], ...]) -> str:
    return next((word for most, word in table if value < most), table[-1][1])


def _listed(words: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _first(texts: Sequence[str], comma: str, rest: str) -> str:
    """Join the first texts, and the number of the others into `rest`."""
    more = rest.format(len(texts) - _MOST) if len(texts) > _MOST else ""
    return f"{comma.join(texts[:_MOST])}{more}"


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def _time(second: float, facts: MediaFacts, offset: float) -> str:
    second += offset
    if facts.duration + offset < _MINUTE:
        return f"{second:.1f} s"
    hours, rest = divmod(round(second, 1), 3600)
    minutes, seconds = divmod(rest, _MINUTE)
    return f"{int(hours)}:{int(minutes):02d}:{seconds:04.1f}" if hours else f"{int(minutes)}:{seconds:04.1f}"


def _span(start: float, end: float, facts: MediaFacts, offset: float) -> str:
    return f"{_time(start, facts, offset).removesuffix(' s')}-{_time(end, facts, offset)}"


def _within(start: float, end: float, facts: MediaFacts, offset: float) -> str:
    if facts.kind == "image":
        return ""
    return f" ({_span(start, end, facts, offset) if end > start else _time(start, facts, offset)})"
