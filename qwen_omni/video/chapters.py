"""Chapters as models write them, and times as people read them. Pure."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from qwen_omni.captions.timed import STARTS, seconds_of, spread

MOST_CHAPTERS = 40


def clock(seconds: float) -> str:
    """Write a time as people read it.

    Example:
        >>> clock(3.9), clock(75), clock(3723)
        ('0:03', '1:15', '1:02:03')
    """
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


ChapterTime = Annotated[float, BeforeValidator(seconds_of), WithJsonSchema({"type": "string"})]
"""Seconds, that models read and write as a clock."""


class ChapterAnswer(BaseModel):
    """A stretch of the video with one subject."""

    model_config = ConfigDict(frozen=True)

    start: ChapterTime = Field(
        description="When it begins, as a clock h:mm:ss or mm:ss, taken from the notes.",
        validation_alias=AliasChoices(*STARTS),
    )
    title: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 80})] = Field(
        min_length=1, description="A title of a few words."
    )
    summary: str = Field(default="", description="What it is about, in one or two sentences.")

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, data: object) -> object:
        return spread(data)


def few_chapters(schema: dict[str, Any]) -> None:
    """Ask for a bearable number of chapters, where a schema has them; more are taken, too."""
    schema["properties"]["chapters"]["maxItems"] = MOST_CHAPTERS
