"""LlamaIndex blocks → parts: what is read, what is refused, and that nothing is lost, doubled or moved."""

import base64
import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from llama_index_qwen_omni._convert_input import to_messages
from qwen_omni.errors import MediaError, QwenOmniError, UnsupportedContentError
from qwen_omni.media.budget import MediaBudget, Sampling
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Part, TextPart, ThinkingPart, VideoPart
from qwen_omni.standin.marked_media import make_image

HOST = "https://media.example.com/"
PNG = make_image("1234", size=(64, 48))


def read(*blocks: Any, role: str = "user", **wishes: Any) -> tuple[Part, ...]:
    return to_messages([ChatMessage(role=role, blocks=list(blocks), additional_kwargs=wishes)])[0].parts


HELD = {
    "bytes": ImageBlock(image=PNG),
    "base64": ImageBlock(image=base64.b64encode(PNG)),
    "file": ImageBlock(image=io.BytesIO(PNG)),
    "document": DocumentBlock(data=PNG, document_mimetype="image/png"),
    "document that shows its type": DocumentBlock(data=PNG),
    "data URI": ImageBlock(url="data:image/png;base64," + base64.b64encode(PNG).decode()),
    "URL-safe base64": ImageBlock(image=base64.urlsafe_b64encode(PNG), image_mimetype="image/png"),
    "URL-safe data URI": ImageBlock(url="data:image/png;base64," + base64.urlsafe_b64encode(PNG).decode().rstrip("=")),
    "octet-stream": DocumentBlock(data=PNG, document_mimetype="application/octet-stream"),
    "detail": ImageBlock(image=PNG, detail="high"),
}


@pytest.mark.parametrize("block", HELD.values(), ids=HELD.keys())
def test_held_media(block: Any) -> None:
    """Bytes arrive as they were given, in whatever way the block holds them, and again when asked again."""
    for _ in range(2):
        (part,) = read(block)
        assert isinstance(part, ImagePart)
        assert (part.source.data, part.source.media_type) == (PNG, part.source.media_type)
    assert part.source.media_type in ("image/png", None)


def test_paths_are_not_trusted(tmp_path: Path) -> None:
    """A path out of a message stays a path, and stays a stranger's."""
    file = tmp_path / "a.mp4"
    file.write_bytes(b"x")
    for block in (VideoBlock(path=file), DocumentBlock(path=str(file))):
        (part,) = read(block)
        assert isinstance(part, VideoPart)
        assert (part.source.path, part.source.trusted) == (file, False)


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (VideoBlock(url=HOST + "a.mp4?Expires=4102444800&Signature=s"), VideoPart),
        (VideoBlock(url="oss://bucket/a.mp4"), VideoPart),
        (AudioBlock(url=HOST + "a?Signature=s", format="mp3"), AudioPart),
        (DocumentBlock(url=HOST + "a.mp4?Expires=4102444800&Signature=s"), VideoPart),
        (DocumentBlock(url=HOST + "a.wav?x=1.pdf"), AudioPart),
        (DocumentBlock(url=HOST + "blob", title="talk.mp4"), VideoPart),
    ],
)
def test_addresses(block: Any, kind: type) -> None:
    """The name before a signed query tells what a document is, and the address is kept as it was written."""
    (part,) = read(block)
    assert isinstance(part, kind)
    assert part.source.url == str(block.url)


WISHES: list[tuple[str, list[Any], dict[str, Any], list[dict[str, Any]]]] = [
    ("fps of the block", [VideoBlock(url=HOST + "a.mp4", fps=2)], {}, [{"fps": 2}]),
    ("fps of the message", [VideoBlock(url=HOST + "a.mp4")], {"fps": 0.5}, [{"fps": 0.5}]),
    ("the block's own wins", [VideoBlock(url=HOST + "a.mp4", fps=2)], {"fps": 0.5}, [{"fps": 2}]),
    ("by number wins", [VideoBlock(url=HOST + "a.mp4", fps=2)], {"media": [{"fps": 0.5}]}, [{"fps": 0.5}]),
    ("one for all", [VideoBlock(url=HOST + "a.mp4")] * 2, {"max_pixels": 9999}, [{"max_pixels": 9999}] * 2),
    ("one dictionary", [VideoBlock(url=HOST + "a.mp4")], {"media": {"start": 1, "end": 2}}, [{"start": 1, "end": 2}]),
    (
        "each its own",
        [VideoBlock(url=HOST + "a.mp4"), ImageBlock(url=HOST + "a.png"), VideoBlock(url=HOST + "b.mp4")],
        {"media": [{"fps": 1}, None, {"end": 3}]},
        [{"fps": 1}, {}, {"end": 3}],
    ),
    (
        "where it fits",
        [VideoBlock(url=HOST + "a.mp4"), ImageBlock(url=HOST + "a.png")],
        {"fps": 1, "max_pixels": 9999},
        [{"fps": 1, "max_pixels": 9999}, {"max_pixels": 9999}],
    ),
    ("budget", [VideoBlock(url=HOST + "a.mp4")], {"budget": "glance"}, [{"budget": "glance"}]),
    ("own budget", [ImageBlock(url=HOST + "a.png")], {"budget": MediaBudget()}, [{"budget": MediaBudget()}]),
    ("budget as a dictionary", [ImageBlock(url=HOST + "a.png")], {"budget": {"fps": 1}},
     [{"budget": MediaBudget(fps=1)}]),
    ("its own, as a dictionary", [VideoBlock(url=HOST + "a.mp4")], {"media": {"budget": asdict(MediaBudget(fps=None))}},
     [{"budget": MediaBudget(fps=None)}]),
]  # fmt: skip


@pytest.mark.parametrize(("blocks", "wishes", "told"), [row[1:] for row in WISHES], ids=[row[0] for row in WISHES])
def test_wishes(blocks: list[Any], wishes: dict[str, Any], told: list[dict[str, Any]]) -> None:
    """What is asked about media reaches the piece it is for: the nearer it stands, the more it counts."""
    for part, wanted in zip(read(*blocks, **wishes), told, strict=True):
        sampling = {name: wanted[name] for name in ("fps", "min_pixels", "max_pixels") if name in wanted}
        assert part.sampling == Sampling(**sampling)  # type: ignore[union-attr]
        for name in set(wanted) - set(sampling):
            assert getattr(part, name) == wanted[name]


def test_frames() -> None:
    """The images of a message can be the frames of one video, at the place of the first."""
    images = [ImageBlock(url=f"{HOST}{at}.jpg") for at in range(3)]
    first, frames, last = read(TextBlock(text="a"), *images, TextBlock(text="b"), frames=True, fps=2)
    assert (first, last) == (TextPart(text="a"), TextPart(text="b"))
    assert isinstance(frames, FramesPart)
    assert [frame.url for frame in frames.frames] == [f"{HOST}{at}.jpg" for at in range(3)]
    assert frames.sampling.fps == 2


def test_beside_frames() -> None:
    """What a message says about its frames is theirs; what another block says of itself still counts."""
    images = [ImageBlock(url=f"{HOST}{at}.jpg") for at in range(2)]
    film, talk = VideoBlock(url=HOST + "a.mp4", fps=3), AudioBlock(url="file:///talk.mp3#t=60,90")
    frames, video, sound = read(*images, film, talk, frames={}, fps=2)
    assert isinstance(frames, FramesPart)
    assert (frames.sampling.fps, video.sampling.fps) == (2, 3)  # type: ignore[union-attr]
    assert (sound.start, sound.end) == (60, 90)  # type: ignore[union-attr]


@pytest.mark.parametrize("block", [VideoBlock, AudioBlock, DocumentBlock])
@pytest.mark.parametrize(
    ("fragment", "seconds"), [("t=60,90", (60, 90)), ("t=60", (60, None)), ("t=,9.5", (None, 9.5))]
)
def test_seconds_in_an_address(block: Any, fragment: str, seconds: tuple[float | None, float | None]) -> None:
    """A local file's address may name its seconds, whatever kind of block it stands in."""
    asked = block(url=f"file:///talk.mp4#{fragment}")
    (part,) = read(asked)
    assert (part.start, part.end) == seconds  # type: ignore[union-attr]
    if block is DocumentBlock:
        (_, cited) = read(CitableBlock(title="t", source="s", content=[asked]))
        assert (cited.start, cited.end) == seconds  # type: ignore[union-attr]


PDF = DocumentBlock(data=b"%PDF-1.4 x", document_mimetype="application/pdf")
VIDEO = VideoBlock(url=HOST + "a.mp4")
REFUSED: list[tuple[str, list[Any], str, dict[str, Any], str]] = [
    ("pdf", [TextBlock(text="x"), PDF], "user", {}, r"message 0 \(user\) block 1: 'document \(application/pdf\)'"),
    ("text by link", [DocumentBlock(url=HOST + "a.txt")], "user", {}, "links are not followed"),
    ("not utf-8", [DocumentBlock(data=b"\xff\xfe", document_mimetype="text/plain")], "user", {}, "not UTF-8"),
    ("nothing in it", [VideoBlock()], "user", {}, "block 0: 'video' is not supported; it has no data, path or url"),
    ("detail", [ImageBlock(url=HOST + "a.png", detail="huge")], "user", {}, "block 0: detail must be one of low"),
    ("a mark on nothing", [CachePoint(cache_control=CacheControl(type="ephemeral"))], "user", {}, "nothing before it"),
    ("a mark of another kind", [TextBlock(text="a")], "user", {"cache_control": True}, "cache_control must be"),
    ("thinking of a user", [ThinkingBlock(content="hm")], "user", {}, "block 0: 'thinking' is not supported"),
    ("call of a user", [ToolCallBlock(tool_name="f")], "user", {}, "block 0: 'tool_call' is not supported"),
    ("picture of an answer", [TextBlock(text="x"), ImageBlock(url=HOST + "a")], "assistant", {}, "block 1: 'image'"),
    ("video of an answer", [VIDEO], "assistant", {}, "not video"),
    ("cited picture", [CitationBlock(cited_content=ImageBlock(url=HOST + "a.png"), source="s", title="t",
                                     additional_location_info={})], "user", {}, "only cited text"),
    ("cited document", [CitableBlock(title="t", source="s", content=[PDF])], "user", {}, "block 0 content 0"),
    ("result of no call", [TextBlock(text="x")], "tool", {}, r"message 0 \(tool\): .* tool_call_id"),
    ("unknown wish", [VIDEO], "user", {"fsp": 2}, "unknown option 'fsp'"),
    ("wish that fits nothing", [ImageBlock(url=HOST + "a.png")], "user", {"fps": 2}, "no block .* option 'fps'"),
    ("wish without media", [TextBlock(text="x")], "user", {"start": 2}, "no block .* option 'start'"),
    ("unknown option", [VIDEO], "user", {"media": {"speed": 2}}, "video has no option 'speed'"),
    ("wrong value", [VIDEO], "user", {"fps": "2"}, "fps must be a number"),
    ("wrong budget", [VIDEO], "user", {"budget": "tiny"}, "budget 'tiny' is not known"),
    ("budget of no kind", [VIDEO], "user", {"budget": [1]}, r"message 0 \(user\) block 0: budget of type list is not"),
    ("limit of no budget", [VIDEO], "user", {"budget": {"fsp": 1}}, "block 0: budget has no 'fsp'; supported: .*fps"),
    ("wrong limit", [VIDEO], "user", {"budget": {"fps": "1"}}, "fps of the budget cannot be of type str"),
    ("too few", [VIDEO, VIDEO], "user", {"media": [{"fps": 1}]}, "media has 1 entries and the message 2 pieces"),
    ("no dictionary", [VIDEO], "user", {"media": "fps"}, "media must be a dictionary or a list"),
    ("no dictionary in the list", [VIDEO], "user", {"media": ["fps"]}, "media must be a dictionary or a list"),
    ("detail of a frame", [ImageBlock(url=HOST + "a.png", detail="low")], "user", {"frames": True},
     "block 0: detail cannot be set for one frame"),
    ("no frames", [TextBlock(text="x")], "user", {"frames": True}, "the message has none"),
    ("media beside frames", [ImageBlock(url=HOST + "a.png")], "user", {"frames": True, "media": {"max_pixels": 9}},
     "media cannot be combined with frames"),
    ("seconds in other words", [VideoBlock(url="file:///a.mp4#t=1:30,2:00")], "user", {},
     "block 0: #t=1:30,2:00 names no seconds"),
    ("part of frames", [ImageBlock(url=HOST + "a.png")], "user", {"frames": {"start": 1}}, "no option 'start'"),
    ("foreign call", [], "assistant", {"tool_calls": ["x"]}, "has an unknown format"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("blocks", "role", "wishes", "match"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused_by_name(blocks: list[Any], role: str, wishes: dict[str, Any], match: str) -> None:
    """What cannot be sent raises, and names its place and kind."""
    with pytest.raises(UnsupportedContentError, match=match):
        read(*blocks, role=role, **wishes)


@pytest.mark.parametrize(
    ("block", "match"),
    [
        (VideoBlock(url="ftp://host/a.mp4"), r"message 0 \(user\) block 0: .* not a URL that can be sent"),
        (ImageBlock(url="data:image/png,abc"), "block 0: .*not base64"),
    ],
)
def test_broken_media_names_its_place(block: Any, match: str) -> None:
    """Media that is not what it says raises with the place of the block."""
    for wishes in ({}, {"frames": True}) if isinstance(block, ImageBlock) else ({},):
        with pytest.raises(MediaError, match=match):
            read(block, **wishes)


def test_answers_of_the_past() -> None:
    """Thinking, texts and calls go back in order; speech goes as its words; a cache point marks what is before it."""
    parts = read(
        ThinkingBlock(content="hm"),
        ThinkingBlock(content=None),
        TextBlock(text="a"),
        AudioBlock(audio=b"RIFFxxxx", format="wav"),
        CachePoint(cache_control=CacheControl(type="ephemeral")),
        ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs='{"x": '),
        CitationBlock(cited_content="said", source="s", title="t", additional_location_info={}),
        role="assistant",
    )
    assert [type(part).__name__ for part in parts] == ["ThinkingPart", "TextPart", "ToolCallPart", "TextPart"]
    assert parts[0] == ThinkingPart(text="hm")
    assert parts[2].arguments == '{"x": '  # type: ignore[union-attr]
    assert parts[3] == TextPart(text='"said" (t, s)')


def test_calls_of_other_classes() -> None:
    """Calls that another class keeps beside the blocks are read; those that stand in blocks, too, come once."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    (alone,) = read(role="assistant", tool_calls=[call])
    assert (alone.id, alone.name, alone.arguments) == ("c1", "f", '{"x": 1}')  # type: ignore[union-attr]
    block = ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={"x": 1})
    assert len(read(block, role="assistant", tool_calls=[call])) == 1


def test_citable_content() -> None:
    """Content to be cited goes with its title and source before it, pictures and all."""
    block = CitableBlock(title="Log", source="a.txt", content=[TextBlock(text="x"), ImageBlock(image=PNG)])
    texts = [part.text for part in read(block) if isinstance(part, TextPart)]
    assert texts == ["Log (a.txt):", "x"]
    assert isinstance(read(block)[2], ImagePart)
    assert read(DocumentBlock(data=b"hi", document_mimetype="text/plain")) == (TextPart(text="hi"),)


@pytest.mark.parametrize("role", list(MessageRole))
def test_every_role_has_a_place(role: MessageRole) -> None:
    """Every role of LlamaIndex is one of ours."""
    (message,) = to_messages([ChatMessage(role=role, content="x", additional_kwargs={"tool_call_id": "c1"})])
    assert message.role in ("system", "user", "assistant", "tool")


BLOCKS = st.one_of(
    st.text(max_size=5).map(lambda text: TextBlock(text=text)),
    st.integers(0, 2).map(lambda at: ImageBlock(url=f"{HOST}{at}.png")),
    st.integers(0, 2).map(lambda at: VideoBlock(url=f"{HOST}{at}.mp4")),
    st.integers(0, 2).map(lambda at: AudioBlock(url=f"{HOST}{at}.wav")),
)


@hypothesis_settings(max_examples=60)
@given(st.lists(BLOCKS, max_size=6))
def test_order_and_number(blocks: list[Any]) -> None:
    """Blocks keep their order and number, repeated and empty ones, too."""
    told = [block.text if isinstance(block, TextBlock) else str(block.url) for block in blocks]
    parts = read(*blocks)
    assert [part.text if isinstance(part, TextPart) else part.source.url for part in parts] == told  # type: ignore[union-attr]


def test_errors_travel() -> None:
    """An error can be sent to another process and is then the same."""
    with pytest.raises(QwenOmniError) as caught:
        read(PDF)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))


@pytest.mark.parametrize(("block", "kind"), [(ImageBlock, ImagePart), (VideoBlock, VideoPart)])
def test_detail_is_read(block: Any, kind: type) -> None:
    """OpenAI's word for a coarse look bounds the pixels, unless the message asks for others."""
    (part,) = read(block(url=HOST + "a", detail="low"))
    assert isinstance(part, kind)
    assert part.sampling == Sampling(max_pixels=512 * 512)
    (part,) = read(block(url=HOST + "a", detail="low"), media={"max_pixels": 9999})
    assert part.sampling == Sampling(max_pixels=9999)
    (part,) = read(block(url=HOST + "a", detail="high"))
    assert part.sampling == Sampling()


POINT = CachePoint(cache_control=CacheControl(type="ephemeral"))


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_cache_point_marks_what_is_before_it(role: str) -> None:
    assert [part.cache for part in read(TextBlock(text="a"), POINT, TextBlock(text="b"), role=role)] == ["5m", None]
    hour = CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h"))
    assert [part.cache for part in read(TextBlock(text="a"), TextBlock(text="b"), hour, role=role)] == [None, "1h"]


def test_media_are_marked_too() -> None:
    """Behind a medium, behind frames, and in the words of llama-index-llms-anthropic."""
    assert read(VideoBlock(url=HOST + "a.mp4"), POINT)[0].cache == "5m"
    assert read(ImageBlock(url=HOST + "a.png"), POINT, frames=True)[0].cache == "5m"
    marked = read(TextBlock(text="a"), VideoBlock(url=HOST + "a.mp4"), cache_control={"type": "ephemeral"})
    assert [part.cache for part in marked] == [None, "5m"]


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_mark_of_a_whole_message_is_on_its_last_part(role: str) -> None:
    """In `additional_kwargs`, whoever speaks."""
    marked = read(TextBlock(text="a"), TextBlock(text="b"), role=role, cache_control={"type": "ephemeral"})
    assert [part.cache for part in marked] == [None, "5m"]
