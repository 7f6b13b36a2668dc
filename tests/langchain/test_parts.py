"""Every spelling of text and media → the neutral parts, and what cannot be sent."""

import base64
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models._utils import _normalize_messages
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.content import create_video_block
from langchain_core.messages.tool import invalid_tool_call

from langchain_qwen_omni._convert_input import to_messages
from qwen_omni.errors import UnreadableMediaError, UnsupportedContentError, UnsupportedMediaError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
)

DATA = b"not media, and nobody looks"
B64 = base64.b64encode(DATA).decode()
URL = "https://example.com/a.mp4"
EPHEMERAL = {"type": "ephemeral"}
CLIP = b"\0\0\0\x18ftypmp42" + bytes(range(256))
WAVE = b"RIFF\0\0\0\0WAVEfmt "
PICTURE = b"\x89PNG\r\n\x1a\n\xff\xfe\xfb"
TALK = "file:///t.mp4#t=60,90"
FILE = {"filename": "a.mp4", "file_data": f"data:video/mp4;base64,{B64}"}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


SAFE = base64.urlsafe_b64encode(PICTURE).decode()


def held(mime: str | None) -> MediaSource:
    return MediaSource.from_bytes(DATA, media_type=mime)


def linked(mime: str | None = None, url: str = URL) -> MediaSource:
    return MediaSource.from_url(url, media_type=mime)


def lying(path: str, mime: str | None = None) -> MediaSource:
    return MediaSource.from_path(path, media_type=mime)


SPELLINGS: dict[str, tuple[Any, Any]] = {
    "text": ({"type": "text", "text": "hi"}, TextPart(text="hi")),
    "a string in a list": ("hi", TextPart(text="hi")),
    "text with marks of other services": (
        {"type": "text", "text": "hi", "id": "1", "annotations": [], "index": 0},
        TextPart(text="hi"),
    ),
    "text to be cached": (
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}, TextPart(text="hi", cache="5m")
    ),
    "text to be cached for an hour": (
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        TextPart(text="hi", cache="1h"),
    ),
    **{
        f"media to be cached, {where}": (block, VideoPart(source=linked(), cache="5m"))
        for where, block in (
            ("beside a URL", {"type": "video", "url": URL, "cache_control": EPHEMERAL}),
            ("in extras", {"type": "video", "url": URL, "extras": {"cache_control": EPHEMERAL}}),
            ("beside OpenAI's object", {"type": "video_url", "video_url": {"url": URL}, "cache_control": EPHEMERAL}),
            ("in OpenAI's object", {"type": "video_url", "video_url": {"url": URL, "cache_control": EPHEMERAL}}),
            ("in a source", {"type": "video", "source": {"type": "url", "url": URL}, "cache_control": EPHEMERAL}),
        )
    },
    "text-plain": ({"type": "text-plain", "text": "hi", "mime_type": "text/plain"}, TextPart(text="hi")),
    "text-plain base64": (
        {"type": "text-plain", "base64": base64.b64encode(b"hi").decode()}, TextPart(text="hi")
    ),
    **{
        f"seconds in an address {where}": (block, part(source=lying("/t.mp4"), start=60, end=end))
        for where, part, end, block in (
            ("of a video", VideoPart, 90, {"type": "video", "url": TALK}),
            ("of a recording", AudioPart, 90, {"type": "audio", "url": TALK}),
            ("as a string", VideoPart, 90, {"type": "video", "video": TALK}),
            ("of OpenAI", VideoPart, 90, {"type": "video_url", "video_url": {"url": TALK}}),
            ("as its string", VideoPart, 90, {"type": "video_url", "video_url": TALK}),
            ("as an id", VideoPart, 90, {"type": "video", "file_id": TALK}),
            ("in a source", VideoPart, 90, {"type": "video", "source": {"type": "url", "url": TALK}}),
            ("beside an end", VideoPart, 70, {"type": "video", "url": TALK, "extras": {"end": 70}}),
        )
    },
    "seconds in the address of a file": (
        {"type": "file", "url": TALK}, VideoPart(source=lying("/t.mp4", "video/mp4"), start=60, end=90)
    ),
    "seconds in the address of OpenAI's sound": (
        {"type": "input_audio", "input_audio": {"data": TALK, "format": "mp3"}},
        AudioPart(source=lying("/t.mp4", "audio/mp3"), start=60, end=90),
    ),
    "no seconds in the address of an image": ({"type": "image", "url": TALK}, ImagePart(source=lying("/t.mp4"))),
    "seconds in the address of a link": (
        {"type": "video", "url": URL + "#t=1"}, VideoPart(source=linked(url=URL + "#t=1"))
    ),
    "v0 text": ({"type": "file", "source_type": "text", "url": "hi", "mime_type": "text/plain"}, TextPart(text="hi")),
    **{
        f"v1 {kind} {way}": ({"type": kind, **fields}, part(source=source))
        for kind, part in (("image", ImagePart), ("audio", AudioPart), ("video", VideoPart))
        for way, fields, source in (
            ("url", {"url": URL}, linked()),
            ("url and type", {"url": URL, "mime_type": f"{kind}/x"}, linked(f"{kind}/x")),
            ("base64", {"base64": B64, "mime_type": f"{kind}/x"}, held(f"{kind}/x")),
            ("oss id", {"file_id": "oss://b/a"}, linked(url="oss://b/a")),
            ("path", {"path": "a.x"}, lying("a.x")),
            ("path object", {"path": Path("a.x")}, lying("a.x")),
            ("file url", {"url": "file:///tmp/a%20b"}, lying("/tmp/a b")),
            ("data uri", {"url": f"data:{kind}/x;base64,{B64}"}, held(f"{kind}/x")),
        )
    },
    **{
        f"v0 {kind} {way}": ({"type": kind, **fields}, part(source=source))
        for kind, part in (("image", ImagePart), ("audio", AudioPart), ("video", VideoPart))
        for way, fields, source in (
            ("url", {"source_type": "url", "url": URL}, linked()),
            ("base64", {"source_type": "base64", "data": B64, "mime_type": f"{kind}/x"}, held(f"{kind}/x")),
            ("id", {"source_type": "id", "id": "oss://b/a"}, linked(url="oss://b/a")),
        )
    },
    "file base64": ({"type": "file", "base64": B64, "mime_type": "video/mp4"}, VideoPart(source=held("video/mp4"))),
    "file url by its name": ({"type": "file", "url": "https://h/a.mp3?x=1"}, AudioPart(source=linked("audio/mpeg", "https://h/a.mp3?x=1"))),
    "file v0": (
        {"type": "file", "source_type": "base64", "data": B64, "mime_type": "audio/wav"},
        AudioPart(source=held("audio/wav")),
    ),
    "openai file": (
        {"type": "file", "file": {"filename": "a.mp4", "file_data": f"data:video/mp4;base64,{B64}"}},
        VideoPart(source=held("video/mp4")),
    ),
    **{
        f"openai file with options {where}": (
            block, VideoPart(source=held("video/mp4"), sampling=Sampling(fps=2), end=9)
        )
        for where, block in (
            ("inside", {"type": "file", "file": {**FILE, "fps": 2, "end": 9}}),
            ("beside", {"type": "file", "file": FILE, "fps": 2, "end": 9}),
            ("inside and beside", {"type": "file", "file": {**FILE, "fps": 2}, "end": 9}),
            ("in extras", {"type": "file", "file": FILE, "extras": {"fps": 2, "end": 9}}),
            ("in its own extras", {"type": "file", "file": {**FILE, "extras": {"fps": 2, "end": 9}}}),
            ("in both extras", {"type": "file", "file": {**FILE, "extras": {"fps": 2}}, "extras": {"end": 9}}),
            ("that are told twice", {"type": "file", "file": {**FILE, "fps": 1}, "fps": 2, "end": 9}),
        )
    },
    "openai file by id": (
        {"type": "file", "file": {"file_id": "oss://b/a", "filename": "a.mp4", "fps": 2}},
        VideoPart(source=linked("video/mp4", "oss://b/a"), sampling=Sampling(fps=2)),
    ),
    "openai image string": ({"type": "image_url", "image_url": URL}, ImagePart(source=linked())),
    "openai image": ({"type": "image_url", "image_url": {"url": URL, "detail": "auto"}}, ImagePart(source=linked())),
    "openai image data uri": (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}},
        ImagePart(source=held("image/png")),
    ),
    "openai audio": (
        {"type": "input_audio", "input_audio": {"data": B64, "format": "wav"}}, AudioPart(source=held("audio/wav"))
    ),
    "openai audio with options inside": (
        {"type": "input_audio", "input_audio": {"data": B64, "format": "wav", "start": 1, "end": 2}},
        AudioPart(source=held("audio/wav"), start=1, end=2),
    ),
    "openai audio data uri": (
        {"type": "input_audio", "input_audio": {"data": f"data:;base64,{B64}", "format": "wav"}},
        AudioPart(source=held("audio/wav")),
    ),
    "openai audio url": (
        {"type": "input_audio", "input_audio": {"data": URL, "format": "mp3"}}, AudioPart(source=linked("audio/mp3"))
    ),
    "audio_url": ({"type": "audio_url", "audio_url": {"url": URL}}, AudioPart(source=linked())),
    "video_url string": ({"type": "video_url", "video_url": URL}, VideoPart(source=linked())),
    "video_url with siblings": (
        {"type": "video_url", "video_url": {"url": URL}, "fps": 0.5, "max_pixels": 230_400},
        VideoPart(source=linked(), sampling=Sampling(fps=0.5, max_pixels=230_400)),
    ),
    "video_url with options inside": (
        {"type": "video_url", "video_url": {"url": URL, "fps": 1}}, VideoPart(source=linked(), sampling=Sampling(fps=1))
    ),
    "frames": (
        {"type": "video", "video": ["https://h/1.jpg", f"data:image/jpeg;base64,{B64}"], "fps": 2},
        FramesPart(frames=(linked(url="https://h/1.jpg"), held("image/jpeg")), sampling=Sampling(fps=2)),
    ),
    "frames as paths": (
        {"type": "video", "video": [{"path": "1.jpg", "budget": "auto"}, {"type": "image", "path": "2.jpg"}]},
        FramesPart(frames=(lying("1.jpg"), lying("2.jpg"))),
    ),
    "video as a string": ({"type": "video", "video": URL}, VideoPart(source=linked())),
    "video with extras": (
        create_video_block(url=URL, fps=2, total_pixels=10_000_000),
        VideoPart(source=linked(), sampling=Sampling(fps=2, total_pixels=10_000_000)),
    ),
    "image with extras": (
        {"type": "image", "url": URL, "extras": {"min_pixels": 1, "max_pixels": 2}},
        ImagePart(source=linked(), sampling=Sampling(min_pixels=1, max_pixels=2)),
    ),
    "anthropic image": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
        ImagePart(source=held("image/png")),
    ),
    "anthropic image with options inside": (
        {"type": "image", "source": {"type": "url", "url": URL, "max_pixels": 9}, "budget": "glance"},
        ImagePart(source=linked(), sampling=Sampling(max_pixels=9), budget="glance"),
    ),
    **{
        f"of another service: {name}": (block, part)
        for name, block, part in (
            ("OpenAI detail high", {"type": "image_url", "image_url": {"url": URL, "detail": "high"}},
             ImagePart(source=linked())),
            ("OpenAI detail low", {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
             ImagePart(source=linked(), sampling=Sampling(max_pixels=262_144))),
            ("a wish beside detail low",
             {"type": "image_url", "image_url": {"url": URL, "detail": "low"}, "max_pixels": 9},
             ImagePart(source=linked(), sampling=Sampling(max_pixels=9))),
            ("Responses text", {"type": "input_text", "text": "hi"}, TextPart(text="hi")),
            ("Responses image", {"type": "input_image", "image_url": URL, "detail": "auto"},
             ImagePart(source=linked())),
            ("Responses image by id", {"type": "input_image", "file_id": "oss://b/a"},
             ImagePart(source=linked(url="oss://b/a"))),
            ("Responses image data", {"type": "input_image", "image_url": f"data:image/png;base64,{B64}"},
             ImagePart(source=held("image/png"))),
            ("Responses file", {"type": "input_file", "filename": "a.mp4", "file_data": f"data:video/mp4;base64,{B64}"},
             VideoPart(source=held("video/mp4"))),
            ("Responses file by URL", {"type": "input_file", "file_url": URL},
             VideoPart(source=linked("video/mp4"))),
            ("Responses audio", {"type": "input_audio", "audio_url": URL}, AudioPart(source=linked())),
            ("a video in the same manner", {"type": "input_video", "video_url": URL, "fps": 1},
             VideoPart(source=linked(), sampling=Sampling(fps=1))),
            ("langchain-google-genai data", {"type": "media", "mime_type": "video/mp4", "data": B64},
             VideoPart(source=held("video/mp4"))),
            ("langchain-google-genai bytes", {"type": "media", "mime_type": "audio/wav", "data": DATA},
             AudioPart(source=held("audio/wav"))),
            ("langchain-google-genai URI", {"type": "media", "mime_type": "video/mp4", "file_uri": URL},
             VideoPart(source=linked("video/mp4"))),
            ("seconds and frames of Gemini",
             {"type": "media", "mime_type": "video/mp4", "file_uri": URL,
              "video_metadata": {"start_offset": "1.5s", "end_offset": "5s", "fps": 2}},
             VideoPart(source=linked("video/mp4"), sampling=Sampling(fps=2), start=1.5, end=5)),
            ("Gemini inline_data", {"inline_data": {"mime_type": "image/png", "data": B64}},
             ImagePart(source=held("image/png"))),
            ("Gemini inlineData", {"inlineData": {"mimeType": "video/mp4", "data": B64}},
             VideoPart(source=held("video/mp4"))),
            ("Gemini file_data", {"file_data": {"mime_type": "audio/mpeg", "file_uri": URL}},
             AudioPart(source=linked("audio/mpeg"))),
            ("Gemini fileData", {"fileData": {"mimeType": "video/mp4", "fileUri": URL},
                                 "videoMetadata": {"startOffset": "3s"}},
             VideoPart(source=linked("video/mp4"), start=3)),
            ("Gemini text", {"text": "hi"}, TextPart(text="hi")),
            ("DashScope video", {"video": URL, "fps": 2}, VideoPart(source=linked(), sampling=Sampling(fps=2))),
            ("DashScope image", {"image": URL}, ImagePart(source=linked())),
            ("DashScope audio", {"audio": "file:///tmp/a%20b"}, AudioPart(source=lying("/tmp/a b"))),
            ("DashScope frames", {"video": [URL, URL], "fps": 1},
             FramesPart(frames=(linked(), linked()), sampling=Sampling(fps=1))),
            ("a URL without a type", {"video_url": {"url": URL}}, VideoPart(source=linked())),
            ("qwen-vl-utils path", {"type": "video", "video": "/tmp/a.mp4", "video_start": 1, "video_end": 2.5,
                                    "min_pixels": 5, "max_pixels": 9, "total_pixels": 99},
             VideoPart(source=lying("/tmp/a.mp4"), start=1, end=2.5,
                       sampling=Sampling(min_pixels=5, max_pixels=9, total_pixels=99))),
            ("qwen-vl-utils frames", {"type": "video", "video": ["1.jpg", "2.jpg"], "sample_fps": 4},
             FramesPart(frames=(lying("1.jpg"), lying("2.jpg")), sampling=Sampling(fps=4))),
            ("a path of Windows", {"type": "video", "video": "C:\\clips\\a.mp4"},
             VideoPart(source=lying("C:\\clips\\a.mp4"))),
            ("a path object", {"type": "image", "image": Path("a.png")}, ImagePart(source=lying("a.png"))),
            ("an object under the kind", {"type": "video", "video": {"url": URL, "fps": 1}},
             VideoPart(source=linked(), sampling=Sampling(fps=1))),
            ("data under the kind", {"type": "audio", "audio": {"data": B64, "format": "wav"}},
             AudioPart(source=held("audio/wav"))),
            ("Bedrock", {"video": {"format": "mp4", "source": {"bytes": DATA}}}, VideoPart(source=held("video/mp4"))),
            ("Anthropic document",
             {"type": "document", "source": {"type": "base64", "media_type": "video/mp4", "data": B64}},
             VideoPart(source=held("video/mp4"))),
            ("Anthropic text",
             {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
             TextPart(text="hi")),
        )
    },
    **{
        f"octet-stream that holds {part.__name__}, {where}": (block, part(source=MediaSource.from_bytes(data)))
        for part, data in ((VideoPart, CLIP), (AudioPart, WAVE), (ImagePart, PICTURE))
        for where, block in (
            ("as base64", {"type": "file", "mime_type": "application/octet-stream", "base64": encoded(data)}),
            ("as data", {"type": "file", "source_type": "base64", "mime_type": "application/octet-stream",
                         "data": encoded(data)}),
            ("in lines", {"type": "file", "base64": base64.encodebytes(data).decode()}),
            ("URL-safe", {"type": "file", "base64": base64.urlsafe_b64encode(data).decode().rstrip("=")}),
        )
    },
    **{
        f"URL-safe base64 {where}": (block, ImagePart(source=MediaSource.from_bytes(PICTURE, media_type="image/png")))
        for where, block in (
            ("alone", {"type": "image", "base64": SAFE, "mime_type": "image/png"}),
            ("without its end", {"type": "image", "base64": SAFE.rstrip("="), "mime_type": "image/png"}),
            ("in a data URI", {"type": "image", "url": f"data:image/png;base64,{SAFE}"}),
            ("in an OpenAI URL", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SAFE}"}}),
            ("in a source", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": SAFE}}),
            ("as DashScope has it", {"image": f"data:image/png;base64,{SAFE}"}),
        )
    },
    "anthropic image url": ({"type": "image", "source": {"type": "url", "url": URL}}, ImagePart(source=linked())),
}  # fmt: skip


@pytest.mark.parametrize(("block", "part"), SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("normalised", [False, True], ids=["as written", "as LangChain hands it over"])
def test_spelling(block: Any, part: Any, normalised: bool) -> None:
    """Each spelling becomes its part, also after LangChain has rewritten old ones."""
    messages: list[BaseMessage] = [HumanMessage([{"type": "text", "text": "look"}, block])]
    if normalised:
        messages = _normalize_messages(messages)
    assert to_messages(messages) == (Message(role="user", parts=(TextPart(text="look"), part)),)


REFUSED: dict[str, tuple[Any, str]] = {
    "pdf": ({"type": "file", "base64": B64, "mime_type": "application/pdf"}, r"file \(application/pdf\)"),
    "openai pdf": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{B64}"}}, "file"
    ),
    "a file of no kind": ({"type": "file", "url": "https://h/a"}, "mime_type"),
    "document": ({"type": "document", "source": {}}, "document"),
    "unknown": ({"type": "hologram"}, "hologram"),
    "no type": ({"film": 1}, "without type"),
    "no type and no media": ({"video": 1}, "no path, url, base64 or file_id"),
    "tool call of a user": ({"type": "tool_use", "id": "1", "name": "f", "input": {}}, "tool_use"),
    "foreign file id": ({"type": "video", "file_id": "file-abc123"}, "oss://"),
    "no source": ({"type": "image"}, "no path, url, base64 or file_id"),
    "url that is no text": ({"type": "image_url", "image_url": {"url": 3}}, "image_url"),
    "audio without data": ({"type": "input_audio", "input_audio": {"format": "wav"}}, "input_audio"),
    "frame that is sound": ({"type": "video", "video": [{"type": "audio", "url": URL}]}, "frame 0"),
    **{
        f"{name} of a frame {where}": (
            {"type": "video", "video": ["https://h/1.jpg", frame]}, f"frame 1: .*{name} cannot be set .*; {advice}"
        )
        for where, name, advice, frame in (
            ("beside its path", "max_pixels", "set it .* next to", {"path": "1.jpg", "max_pixels": 9}),
            ("in its extras", "min_pixels", "set it", {"type": "image", "url": URL, "extras": {"min_pixels": 9}}),
            ("of OpenAI", "max_pixels", "set it", {"type": "image_url", "image_url": {"url": URL, "max_pixels": 9}}),
            ("that is a file", "budget", "leave it", {"type": "file", "url": "https://h/2.png", "budget": "static"}),
        )
    },
    "unknown option of a frame": ({"type": "video", "video": [{"path": "1.jpg", "fps": 2}]}, "frame 0: .*'fps'"),
    "unknown extra": ({"type": "video", "url": URL, "extras": {"frames": 3}}, "fps, min_pixels, max_pixels, total"),
    "unknown option of a file": ({"type": "file", "file": {**FILE, "frames": 3}}, "no option 'frames'; supported"),
    "wrong option of a file": ({"type": "file", "file": {**FILE, "fps": "two"}}, "fps must be a number"),
    "a file in a file": ({"type": "file", "file": {**FILE, "file": FILE}}, "no option 'file'"),
    "unknown option of a source": ({"type": "image", "source": {"type": "url", "url": URL, "fps": 2}}, "option 'fps'"),
    "extra without a name": ({"type": "video", "url": URL, "extras": {1: 2}}, "no option 1; supported"),
    "extras in extras in extras": (
        {"type": "video", "url": URL, "extras": {"extras": {"extras": {"fps": 2}}}}, "no option 'extras'"
    ),
    "extras that are none": ({"type": "video", "url": URL, "extras": [1]}, "extras must be a dictionary"),
    "unknown sibling": ({"type": "image_url", "image_url": URL, "fps": 2}, "min_pixels, max_pixels"),
    "option of sound": ({"type": "audio", "url": URL, "fps": 2}, "supported: start, end"),
    "fps in words": ({"type": "video", "url": URL, "fps": "two"}, "fps must be a number"),
    "fps as truth": ({"type": "video", "url": URL, "fps": True}, "fps must be a number"),
    "seconds in other words": ({"type": "video", "url": "file:///a.mp4#t=1:30"}, "#t=1:30 names no seconds"),
    "text behind a link": ({"type": "text-plain", "url": "https://h/a.txt"}, "links to text"),
    "text that is none": ({"type": "text-plain", "base64": base64.b64encode(b"\xff").decode()}, "UTF-8"),
    "text without text": ({"type": "text"}, "text is missing"),
    **{
        f"media twice: {where}": (block, words)
        for where, words, block in (
            ("two fields", "its media is in path and in url; leave", {"type": "video", "url": URL, "path": "a.mp4"}),
            ("beside an object", "in 'image_url' and in 'url'", {"type": "image_url", "image_url": URL, "url": URL}),
            ("two objects", "in 'source' and in 'url'", {"video": {"url": URL}, "source": {"type": "url", "url": URL}}),
            ("names of two services", "url and in base64",
             {"type": "file", "mime_type": "video/mp4", "file_uri": URL, "data": B64}),
        )
    },
    "something else": (7, "int"),
    "a mark on one frame": (
        {"type": "video", "video": [{"type": "image", "url": URL, "cache_control": EPHEMERAL}, URL, URL, URL]},
        "frame 0: cache_control cannot be set for one frame",
    ),
    # A key, mark or option that nothing is done with.
    "a key of a text": ({"type": "text", "text": "x", "important": True}, "text has no option 'important'"),
    "an extra of a text": ({"type": "text", "text": "x", "extras": {"speed": 2}}, "text has no option 'speed'"),
    "a mark that is none": ({"type": "text", "text": "x", "cache_control": "yes"}, "cache_control must be"),
    "an unknown mark": ({"type": "text", "text": "x", "cache_control": {"type": "for ever"}}, "cache_control must be"),
    "a number of frames": ({"type": "video", "url": URL, "nframes": 8}, "'nframes'; .* samples by time: use fps"),
    "a height": ({"type": "image", "url": URL, "resized_height": 8}, "use max_pixels"),
    "an unknown detail": ({"type": "image", "url": URL, "detail": "huge"}, "detail must be one of low, high"),
    "detail of sound": ({"type": "audio", "url": URL, "detail": "low"}, "audio has no option 'detail'"),
    "Gemini fps in words": (
        {"type": "media", "mime_type": "video/mp4", "file_uri": URL, "video_metadata": {"fps": "x"}}, "fps"
    ),
    "octet-stream of no kind": (
        {"type": "file", "mime_type": "application/octet-stream", "base64": B64}, "must be video, audio or an image"
    ),
    "a key alone": ({"unknown": 1}, "block without type"),
}  # fmt: skip


@pytest.mark.parametrize(("block", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(block: Any, words: str) -> None:
    """What cannot be sent raises, and names the message, the part and the kind or option."""
    messages = [SystemMessage("be brief"), HumanMessage(["look"])]
    messages[1].content = ["look", block]
    with pytest.raises(UnsupportedContentError, match=rf"^message 1 \(user\) part 1.*{words}"):
        to_messages(messages)


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ({"type": "image", "base64": "not base64!"}, UnreadableMediaError),
        ({"type": "video", "url": "ftp://h/a.mp4"}, UnsupportedMediaError),
        ({"type": "video", "url": "a.mp4"}, UnsupportedMediaError),
        ({"type": "video", "video": "ftp://h/a.mp4"}, UnsupportedMediaError),
    ],
)
def test_bad_media_names_its_place(block: Any, kind: type[Exception]) -> None:
    """Media that is not what it says raises its own class, with its place."""
    with pytest.raises(kind, match=r"^message 0 \(user\) part 0: "):
        to_messages([HumanMessage([block])])


CALL = {"type": "tool_call", "name": "find", "args": {"q": "ä"}, "id": "c1"}
CALL_PART = ToolCallPart(id="c1", name="find", arguments='{"q": "ä"}')

TURNS: dict[str, tuple[list[BaseMessage], tuple[Message, ...]]] = {
    "roles and names": (
        [SystemMessage("s"), HumanMessage("u", name="ann"), AIMessage("a"), ChatMessage("x", role="user")],
        (
            Message(role="system", parts=(TextPart(text="s"),)),
            Message(role="user", parts=(TextPart(text="u"),), name="ann"),
            Message(role="assistant", parts=(TextPart(text="a"),)),
            Message(role="user", parts=(TextPart(text="x"),)),
        ),
    ),
    "a tool call and its result": (
        [AIMessage("", tool_calls=[CALL]), ToolMessage("found", tool_call_id="c1", name="find")],
        (
            Message(role="assistant", parts=(CALL_PART,)),
            Message(role="tool", parts=(ToolResultPart(tool_call_id="c1", text="found", name="find"),)),
        ),
    ),
    "a call told twice is one": (
        [AIMessage(["hm", {"type": "tool_use", "id": "c1", "name": "find", "input": {}}, CALL],
                   tool_calls=[CALL])],
        (Message(role="assistant", parts=(TextPart(text="hm"), CALL_PART)),),
    ),
    "a call in content alone": (
        [AIMessage([{"type": "tool_use", "id": "c2", "name": "find", "input": {"q": 1}}])],
        (Message(role="assistant", parts=(ToolCallPart(id="c2", name="find", arguments='{"q": 1}'),)),),
    ),
    "broken arguments go back as they came": (
        [AIMessage("", invalid_tool_calls=[invalid_tool_call(name="f", args="{", id="1")])],
        (Message(role="assistant", parts=(ToolCallPart(id="1", name="f", arguments="{"),)),),
    ),
    "thinking": (
        [AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "thinking", "thinking": "ha"}, "so"])],
        (Message(role="assistant", parts=(ThinkingPart(text="hm"), ThinkingPart(text="ha"), TextPart(text="so"))),),
    ),
    "thinking as other integrations keep it": (
        [AIMessage("so", additional_kwargs={"reasoning_content": "hm"})],
        (Message(role="assistant", parts=(ThinkingPart(text="hm"), TextPart(text="so"))),),
    ),
    "speech in history is its text": (
        [AIMessage([{"type": "text", "text": "hello"}, {"type": "audio", "base64": B64, "mime_type": "audio/wav"}])],
        (Message(role="assistant", parts=(TextPart(text="hello"),)),),
    ),
    "a refusal is what was said": (
        [AIMessage([{"type": "refusal", "refusal": "I will not."}])],
        (Message(role="assistant", parts=(TextPart(text="I will not."),)),),
    ),
    "what other services write beside an answer is no wish": (
        [AIMessage([{"type": "text", "text": "hi", "logprobs": [], "phase": "final"}])],
        (Message(role="assistant", parts=(TextPart(text="hi"),)),),
    ),
    "texts of a tool": (
        [ToolMessage([{"type": "text", "text": "a"}, "b"], tool_call_id="1")],
        (Message(role="tool", parts=(ToolResultPart(tool_call_id="1", text="a\nb"),)),),
    ),
    "media of tools follow their results": (
        [
            ToolMessage([{"type": "image", "url": URL}], tool_call_id="1"),
            ToolMessage("plain", tool_call_id="2"),
            HumanMessage("and now?"),
        ],
        (
            Message(role="tool", parts=(
                ToolResultPart(tool_call_id="1", text="(What the tool returned follows in the next message.)"),)),
            Message(role="tool", parts=(ToolResultPart(tool_call_id="2", text="plain"),)),
            Message(role="user", parts=(ImagePart(source=linked()),)),
            Message(role="user", parts=(TextPart(text="and now?"),)),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "expected"), TURNS.values(), ids=TURNS.keys())
def test_turn(messages: list[BaseMessage], expected: tuple[Message, ...]) -> None:
    """Each kind of message becomes its turn; the messages themselves stay as they are."""
    before = [message.model_dump() for message in messages]
    assert to_messages(messages) == expected
    assert [message.model_dump() for message in messages] == before


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (AIMessage([{"type": "video", "url": URL}]), "message 0 .assistant. part 0: 'video'"),
        (ChatMessage("x", role="narrator"), "message 0: ChatMessage"),
        (ToolMessage([{"type": "json", "json": {}}], tool_call_id="1"), "message 0 .tool. part 0: 'json'"),
    ],
)
def test_turn_refused(message: BaseMessage, words: str) -> None:
    """A turn that the service has no place for raises."""
    with pytest.raises(UnsupportedContentError, match=words):
        to_messages([message])


def test_a_path_in_a_message_stays_untrusted() -> None:
    """However it is written: it must lie in the media root."""
    for block in ({"video": "/etc/passwd"}, {"type": "image", "image": "/etc/passwd"}, {"audio": "file:///etc/passwd"}):
        (message,) = to_messages([HumanMessage([block])])
        assert not message.parts[0].source.trusted


@pytest.mark.parametrize("kind", [HumanMessage, SystemMessage, AIMessage])
def test_a_mark_of_a_whole_message_is_on_its_last_part(kind: type[BaseMessage]) -> None:
    """In `additional_kwargs`, as in LlamaIndex."""
    blocks: list[Any] = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    (message,) = to_messages([kind(blocks, additional_kwargs={"cache_control": EPHEMERAL})])
    assert [part.cache for part in message.parts if isinstance(part, TextPart)] == [None, "5m"]
    with pytest.raises(UnsupportedContentError, match=r"message 0 \(\w+\): cache_control must be"):
        to_messages([kind(blocks, additional_kwargs={"cache_control": True})])
