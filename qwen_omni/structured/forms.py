"""Answers that are text with times, in the forms of the service's own prompts → their pieces. Pure.

Sources: the prompts of the Qwen-Omni guide (audio and video description, read 2026-10):

- Narrative: an overview, then paragraphs that begin with `[hh:mm:ss:xxx-hh:mm:ss:xxx]`, perhaps a closing.
- Three sections: storyline, visible text, transcript; each a list, in whatever layout the model prefers.
- Speakers: `<soc><sos><start_time>text<end_time><speakerX><eos>…<eoc>`; `<soc><eoc>` if there is no speech.

The JSON forms (scenes with events, sound events) are read by `timed`. Nothing is dropped: a piece without a time, an
end or words is returned without it, so that the schema's check names it. Times are returned as written.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from qwen_omni.structured.schema import FormSection, TextForm
from qwen_omni.structured.timed import split_range

_DASHES = r"\-‐‑‒–—―−－~～〜"
_CLOCK = r"(?<!\d)\d{1,9}(?:\s?[:：]\s?\d+){1,3}(?:[.,]\d+)?"
_TO = rf"\s*(?:-->|->|→|[{_DASHES}至到]|to|until)\s*"
_SPELLED = rf"[\d:：.,\s{_DASHES}→>xX?？hmsHMS至到秒分时]"
_BULLET = r"\s*+(?:#{1,6}\s*+)?+(?:[-*•+–]\s++|\(?\d{1,3}[.)、．]\s*+)?+"
_MARK = re.compile(
    rf"(?P<bullet>{_BULLET})(?:\*\*|__)?"
    rf"(?:[\[(【（]\s*(?P<inside>{_SPELLED}{{1,60}}|{_SPELLED}{{1,30}}(?:to|until){_SPELLED}{{1,30}})[\])】）]"
    rf"(?:{_TO}[\[(【（]\s*(?P<until>{_SPELLED}{{1,30}})[\])】）])?"
    rf"|[\[(【（]?\s*(?P<bare>{_CLOCK}{_TO}{_CLOCK})\s*[\])】）]?(?!\d)"
    rf"|(?P<single>{_CLOCK})(?=\s*[:：–—-]\s))"
    r"(?:\*\*|__)?\s*(?:[:：|]|[-–—](?=\s))?\s*"
)  # fmt: skip
_NEXT = re.compile(rf"(?<=[^\d\s][.!?。！？…\"”’)）])\s*(?=[\[【]\s*{_CLOCK}{_TO}{_CLOCK}\s*[\]】])")
_ANYWHERE = re.compile(rf"[\[(【（]? {{0,3}}(?P<range>{_CLOCK}{_TO}{_CLOCK})\s*[\])】）]?")
_TIME = rf"[\[(【（\"'`]*\s*(?P<time>{_CLOCK}|\d+(?:[.,]\d+)?)\s*(?:s|sec|seconds|秒)?\s*[\])】）\"'`]*\s*[,;；，|]?\s*"
_START = re.compile(
    rf"\b(?:start|begin)s?(?:[ _-]?(?:time(?:stamp)?|seconds?))?\W{{0,4}}?[:：=]\W{{0,4}}?{_TIME}", re.IGNORECASE
)
_END = re.compile(
    rf"\bend(?:ing|s)?(?:[ _-]?(?:time(?:stamp)?|seconds?))?\W{{0,4}}?[:：=]\W{{0,4}}?{_TIME}", re.IGNORECASE
)
_START_ZH = re.compile(rf"(?:开始|起始)(?:时间戳?)?\s*[:：=]\s*{_TIME}")
_END_ZH = re.compile(rf"(?:结束|终止)(?:时间戳?)?\s*[:：=]\s*{_TIME}")
_OPEN_MARK = re.compile(rf"{_BULLET}(?:\*\*|__)?[\[【]\s*{_SPELLED}{{0,60}}$")
_HEADING = re.compile(
    r"\s*(?P<shape>(?:#++\s*+|\*\*|__|section\s++|part\s++|第\s*+)*+"
    r"(?:(?P<number>[0-9]{1,2})|[一二三四五六]|[IVX]{1,4}(?=[.)]))?\s*(?:部分)?(?:[.)、．]|[:：](?=.*\w))?\s*)"
    r"(?P<name>[^\n:：*|]{2,160})(?:\*\*|__)?(?P<colon>[:：]?)(?:\*\*|__)?(?P<rest>.*)",
    re.IGNORECASE,
)
_NAMES: tuple[tuple[FormSection, re.Pattern[str]], ...] = (
    ("speech", re.compile(r"speech|transcri(?:pt|be)|dialogue|语音|转写|转录|对白|台词", re.IGNORECASE)),
    (
        "on_screen_text",
        re.compile(
            r"visible text|on-?screen text|text elements?|\bOCR\b|画面文字|可见文字|屏幕文字|文字", re.IGNORECASE
        ),
    ),
    ("events", re.compile(r"story-?\s?line|chronolog|故事线|时间线|剧情|事件描述", re.IGNORECASE)),
)
_ABSENT = re.compile(r"\b(?:no|none|not|nothing|without|n/a)\b|没有|无|未", re.IGNORECASE)
_CUE_NUMBER = re.compile(r"(?:^|\n)\d+$")  # of a subtitle, before its times
_FENCE = re.compile(r"\s*(?:```+|~~~+)\w*\s*")
_LISTED = re.compile(r"(?:[-*•+]\s++|\(?\d{1,3}[.)、．]\s++)")
_TAG = re.compile(r"<\s*(?P<slash>/?)\s*(?P<name>soc|eoc|sos|eos)\s*>", re.IGNORECASE)
_THOUGHT = "</think>"
_BEHIND = re.compile(r"<(?P<tag>[^<>]{1,60})>\s*$")
_FRONT = re.compile(r"\s*<(?P<tag>[^<>]{1,60})>")
_TAG_TIME = re.compile(r"(?:(?:start|end|begin)(?:[_ ]?time)?\s*[:=]?\s*)?(?P<time>.*)", re.IGNORECASE | re.DOTALL)
_SPEAKER = re.compile(r"(?:speaker|spk(?:id)?|说话人|发言人)\s*[_:=-]?\s*\w*", re.IGNORECASE)
_RULE = " \t-*_=:|"  # characters of a line that only separates
_LONGEST_HEADING = 400
_PIECES = ("start", "end", "speaker", "text")
_SECTIONS: tuple[FormSection, ...] = ("events", "on_screen_text", "speech")
_SHORT = 60  # characters of a heading without a number
_ENOUGH = 2  # headings that make the form of three sections


def read_form(text: str, *, ended: bool = True) -> TextForm | None:
    r"""Read an answer in a text form; `None` if it holds no piece with a time.

    Args:
        text: the answer, or its beginning.
        ended: whether the answer is complete. If not, what may still change its meaning is left out, so that longer
            beginnings only add to what shorter ones returned.

    Example:
        >>> form = read_form("A kitchen.\n\n[00:00:00:000-00:00:04:000] A cook enters.")
        >>> form.untimed, form.section("events")
        (('A kitchen.',), [{'start': '00:00:00:000', 'end': '00:00:04:000', 'text': 'A cook enters.'}])
    """
    text = text.rpartition(_THOUGHT)[2]
    lines = _Lines(ended=ended)
    if _TAG.search(text):
        spoken = _Spoken(text, ended=ended)
        lines.take("\n\n".join(spoken.around if ended else spoken.around[:1]))
        return lines.form(spoken)
    whole, open_piece = _settled(text, ended=ended)
    lines.take(whole)
    return lines.form(truncated=ended and bool(open_piece))


def _settled(text: str, *, ended: bool) -> tuple[str, str]:
    """Split off the end of a text that is not decided: an open mark; before the end, also a line without words."""
    at = text.rfind("\n") + 1
    last = text[at:]
    if _OPEN_MARK.fullmatch(last):
        return text[:at], last
    mark = _MARK.match(last)
    inner = max(last.rfind("["), last.rfind("【"))
    cut = len(last)
    if inner > 0 and _OPEN_MARK.fullmatch(last[inner:]) and (not ended or ":" in last[inner:]):
        cut = inner
    words = "" if mark is None else last[mark.end() : cut].strip(_RULE)
    if not ended and (mark is None or not words or (mark["single"] and not words.strip("0123456789.：:"))):
        cut = 0
    return text[: at + cut], last[cut:]


# --- Narrative and sections ---


@dataclass(slots=True)
class _Item:
    """One entry of a section: its lines, and its times if they stand at its beginning."""

    section: FormSection
    lines: list[str]
    times: dict[str, Any] = field(default_factory=dict)
    listed: bool = False

    def entry(self) -> dict[str, Any] | None:
        """Return the entry; `None` if nothing in it is a time."""
        text = "\n".join(line for line in self.lines if line).strip().strip("*").strip()
        if self.times:
            return {**self.times, "text": text}
        return _labelled(text) or _inside(text)


def _labelled(text: str) -> dict[str, Any] | None:
    """Take times with labels ("Start: 00:01, End: 00:03") out of a text."""
    entry: dict[str, Any] = {}
    for name, patterns in (("start", (_START, _START_ZH)), ("end", (_END, _END_ZH))):
        for pattern in patterns:
            found = pattern.search(text)
            if found is not None:
                entry[name] = found["time"]
                text = f"{text[: found.start()].rstrip()} {text[found.end() :].lstrip()}".strip()
                break
    return {**entry, "text": text.strip(" ,;；，|-\n")} if entry else None


def _inside(text: str) -> dict[str, Any] | None:
    found = _ANYWHERE.search(text)
    both = None if found is None else split_range(found["range"])
    if found is None or both is None:
        return None
    rest = f"{text[: found.start()].rstrip()} {text[found.end() :].lstrip()}"
    return {"start": both[0], "end": both[1], "text": rest.strip(" ,;；，|-:：\n")}


class _Lines:
    """Sorts lines into sections, and those into entries and paragraphs without times."""

    def __init__(self, *, ended: bool) -> None:
        self._ended = ended
        self._section: FormSection = "events"
        self._named: set[FormSection] = set()
        self._untimed: list[str] = []
        self._items: list[_Item] = []
        self._open: _Item | None = None
        self._gap = True
        self._columns: list[str] = []
        self._number = self._item_number = 0  # of the section, and of the last entry in it

    def take(self, text: str) -> None:
        """Read all lines of a text."""
        for line in _NEXT.sub("\n", text).splitlines():
            if not line.strip():
                self._gap, self._columns = True, []
            elif not (_FENCE.fullmatch(line) or not line.strip(_RULE)):
                self._line(line.strip())
                self._gap = False

    def _line(self, line: str) -> None:
        if line.startswith("|"):
            self._row(line)
            return
        mark = _MARK.match(line)
        times = None if mark is None else _times(mark)
        if mark is not None and times is not None:
            if self._untimed:
                self._untimed[-1] = _CUE_NUMBER.sub("", self._untimed[-1])
            self._begin(_Item(self._section, [line[mark.end() :]], times))
            return
        if self._is_heading(line):
            return
        listed = _LISTED.match(line) is not None
        if self._section != "events" and (listed or self._open is None or self._gap):
            self._begin(_Item(self._section, [_LISTED.sub("", line, count=1).strip()], listed=listed))
        elif self._open is not None and (listed or not self._gap):
            self._open.lines.append(line)
        elif self._gap or not self._untimed:
            self._open = None
            self._untimed.append(line)
        else:
            self._untimed[-1] += f"\n{line}"

    def _begin(self, item: _Item) -> None:
        self._items.append(item)
        self._open = item

    def _row(self, line: str) -> None:
        """Read a row of a table; its first row names the columns."""
        cells = [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]
        if not self._columns:
            self._columns = cells
            return
        pairs = [f"{name}: {cell}" for name, cell in zip(self._columns, cells, strict=False) if cell]
        pairs += cells[len(self._columns) :]
        self._begin(_Item(self._section, ["; ".join(pairs)], listed=True))

    def _is_heading(self, line: str) -> bool:
        """Whether a line names a section, which then begins."""
        found = _HEADING.fullmatch(line) if len(line) < _LONGEST_HEADING else None
        if found is None:
            return False
        rest, name = found["rest"].strip(" *_"), found["name"].strip()
        number = int(found["number"] or 0)
        section = next((one for one, pattern in _NAMES if pattern.search(name)), None)
        short = self._gap and len(name) < _SHORT and not rest and name[-1] not in '.!?。！？"”'
        if section is not None and (found["shape"].strip() or short) and not (rest and section == self._section):
            self._enter(section, number)
            self._named.add(section)
            if rest:
                self._begin(_Item(section, [rest]))
            return True
        follows = number > 1 and number == self._number + 1 and self._gap and self._item_number + 1 != number
        if follows or "#" in found["shape"]:  # a section of the model's own
            self._enter("events", number)
            self._untimed.append(line.strip("#*_ "))
            return True
        self._item_number = number
        return False

    def _enter(self, section: FormSection, number: int) -> None:
        self._section, self._open, self._columns = section, None, []
        self._number, self._item_number = number, 0

    def form(self, spoken: "_Spoken | None" = None, *, truncated: bool = False) -> TextForm | None:
        """Return what was read, with the turns of speakers; `None` if neither holds a time."""
        entries: list[tuple[FormSection, dict[str, Any]]] = []
        untimed = list(self._untimed)
        # The times of an entry may be in a line to come.
        items = self._items if self._ended or self._open is None or self._open.times else self._items[:-1]
        read = [(item, item.entry()) for item in items]
        timed = {item.section for item, entry in read if entry is not None}
        for item, entry in read:
            text = "\n".join(item.lines).strip()
            if entry is not None:
                entries.append((item.section, entry))
            elif item.listed and item.section in timed and not text.endswith((":", "：")):
                entries.append((item.section, {"text": text}))  # an entry that lacks its times
            elif item.section in timed or not _ABSENT.search(text):
                untimed.append(text)
        if not timed and spoken is None:
            return None
        cut = bool(self._open and self._open.times and not any(self._open.lines))
        if cut:
            entries.pop()
        turns = [] if spoken is None else spoken.turns
        entries += [("speech", turn) for turn in turns]
        return TextForm(
            untimed=tuple(text for text in untimed if text) if self._ended else (),
            entries=tuple(entries),
            problems=tuple(self._problems(turns, speaks=spoken is not None)),
            truncated=self._ended and (truncated or cut or bool(spoken and spoken.truncated)),
            ended=self._ended,
        )

    def _problems(self, turns: list[dict[str, Any]], *, speaks: bool) -> list[str]:
        lacking = [one for one in _SECTIONS if one not in self._named and not (speaks and one == "speech")]
        problems = [f"{one}: the section is missing" for one in lacking if len(self._named) >= _ENOUGH]
        return problems + [
            f"speech.{index}.speaker: is missing" for index, turn in enumerate(turns) if "speaker" not in turn
        ]


def _times(mark: re.Match[str]) -> dict[str, Any] | None:
    """Return the times of a mark; `None` if its brackets hold something else."""
    written = (mark["inside"] or mark["bare"] or mark["single"]).strip()
    if mark["until"]:
        return {"start": written, "end": mark["until"].strip()}
    both = split_range(written)
    if both is not None:
        return {"start": both[0], "end": both[1]}
    if not re.search(r"\d\s*[:：]|[:：]\s*\d", written):
        return None
    return {"start": written.rstrip(f" {_DASHES}→>至到")}


# --- Speakers ---


class _Spoken:
    """A conversation in tags.

    Attributes:
        turns: its turns, as far as they are decided.
        around: the text before and after it.
        truncated: whether the text ended before `<eoc>`; a turn that it ended in is left out.
    """

    def __init__(self, text: str, *, ended: bool) -> None:
        self.turns: list[dict[str, Any]] = []
        self.around: list[str] = []
        tags = list(_TAG.finditer(text))
        self.around.append(text[: tags[0].start()])
        inside = True
        for index, tag in enumerate(tags):
            last = index + 1 == len(tags)
            body = text[tag.end() : len(text) if last else tags[index + 1].start()]
            name = tag["name"].lower().replace("s", "e", 1) if tag["slash"] else tag["name"].lower()
            inside = name != "eoc"
            if not inside:
                self.around.append(body)
            elif name == "sos" or body.strip("` \n\t\r"):
                # A turn that lacks its `<eos>` ends where the next begins; text between turns has no times.
                self.turns += [_turn(body)] if ended or not last else []
        self.truncated = ended and inside
        if self.truncated and self.turns and not self.turns[-1].keys() >= {"start", "end", "text"}:
            self.turns.pop()


def _turn(body: str) -> dict[str, Any]:
    """Read `<start>text<end><speaker>`; what is missing is left out."""
    turn: dict[str, Any] = {}
    front = _FRONT.match(body)
    if front is not None and not _SPEAKER.fullmatch(front["tag"].strip()):
        turn["start"], body = _tag_time(front["tag"]), body[front.end() :]
    behind = _BEHIND.search(body)
    if behind is not None and not _is_time(behind["tag"]):
        turn["speaker"], body = behind["tag"].strip(), body[: behind.start()]
        behind = _BEHIND.search(body)
    if behind is not None and _is_time(behind["tag"]):
        turn["end"], body = _tag_time(behind["tag"]), body[: behind.start()]
    words = body.strip()
    return {name: one for name in _PIECES if (one := {**turn, "text": words}.get(name))}


def _tag_time(tag: str) -> str:
    found = _TAG_TIME.fullmatch(tag.strip())
    return (found["time"] if found is not None else tag).strip()


def _is_time(tag: str) -> bool:
    return bool(re.match(r"[\d.]", _tag_time(tag))) or bool(re.match(r"\s*end", tag, re.IGNORECASE))
