"""`qwen-omni ask`: one question about one file, answered word by word."""

from collections.abc import Iterable
from typing import Annotated

import typer

from qwen_omni.cli.output import (
    EFFORTS,
    TIERS,
    WAYS,
    AudioTrack,
    CallTier,
    Frame,
    ServiceRegion,
    ServiceUrl,
    ServiceWorkspace,
    Tile,
    choose,
    end_thinking,
    settings_for,
    show_note,
    show_thinking,
    show_usage,
    write_text,
)
from qwen_omni.client import OmniClient
from qwen_omni.media.budget import Sampling
from qwen_omni.media.info import read_audio_track
from qwen_omni.messages import Message, TextPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.request.question import question
from qwen_omni.responses import Delta, FinishDelta, TextDelta, ThinkingDelta, UsageDelta
from qwen_omni.settings import BUCKET_VARIABLE


def ask(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[str, typer.Argument(metavar="FILE", help="An image, recording or video: a path or a URL.")],
    text: Annotated[str, typer.Argument(metavar="QUESTION", help="The question about it.")],
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="The model to use.")] = DEFAULT_MODEL,
    fps: Annotated[float | None, typer.Option(help="Frames per second that the service samples.")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Maximum pixels per frame or image.")] = None,
    audio_track: AudioTrack = "auto",
    tile: Tile = True,
    frame: Frame = None,
    thinking: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(EFFORTS)}; default: the model's own.")
    ] = None,
    tier: CallTier = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    region: ServiceRegion = None,
    workspace: ServiceWorkspace = None,
    base_url: ServiceUrl = None,
    delivery: Annotated[
        str, typer.Option(help=f"Delivery of local files: {', '.join(WAYS)}. Set {BUCKET_VARIABLE} to use a bucket.")
    ] = "auto",
    show_thoughts: Annotated[
        bool, typer.Option("--show-thinking", help="Print the model's reasoning, dimmed.")
    ] = False,
    usage: Annotated[bool, typer.Option("--usage", help="Print the tokens used.")] = False,
) -> None:
    """Ask a question about an image, a recording or a video, and print the answer as it arrives.

    The key is read from DASHSCOPE_API_KEY.
    """
    settings = settings_for(region, base_url, workspace, delivery)
    options = ChatOptions(thinking=choose("thinking", thinking, EFFORTS), tier=choose("tier", tier, TIERS))
    about = question(
        media,
        text,
        sampling=Sampling(fps=fps, max_pixels=max_pixels),
        audio_track=read_audio_track(audio_track),
        tile=tile,
        frame=frame,
    )
    rules = (Message(role="system", parts=(TextPart(text=system),)),) if system else ()
    request = ChatRequest(model=model, messages=(*rules, about), options=options)
    with OmniClient(settings) as client:
        _print(client.stream(request), thoughts=show_thoughts, usage=usage)


def _print(deltas: Iterable[Delta], *, thoughts: bool, usage: bool) -> None:
    thinking = False
    for delta in deltas:
        if thinking and not isinstance(delta, ThinkingDelta):
            end_thinking()
            thinking = False
        match delta:
            case TextDelta():
                write_text(delta.text)
            case ThinkingDelta() if thoughts:
                show_thinking(delta.text)
                thinking = True
            case FinishDelta():
                write_text("\n")
                if delta.reason != "stop":
                    show_note(f"The answer ended early: {delta.reason}.")
            case UsageDelta() if usage:
                show_usage(delta.usage)
            case _:
                pass
