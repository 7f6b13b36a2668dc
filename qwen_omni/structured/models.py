"""Ready-made captions: `VideoCaption` for product videos, `GeneralCaption` for any media. Other schemas work, too."""

from pydantic import ConfigDict, Field

from qwen_omni.structured.schema import Shown, first_paragraph


class VideoCaption(Shown):
    """What a product video shows, for the people who will market it.

    Example:
        >>> VideoCaption.model_validate_json(
        ...     '{"scene_description": "A hand opens a tent.", "key_product_features": ["opens in one move"],'
        ...     ' "target_audience": "campers", "recommended_music_style": "calm folk"}'
        ... ).key_product_features
        ['opens in one move']
    """

    model_config = ConfigDict(json_schema_extra=first_paragraph)

    scene_description: str = Field(
        min_length=1, description="What is seen and heard, from beginning to end, in two to five sentences."
    )
    key_product_features: list[str] = Field(
        description="Features of the product that the video shows or names, one each; empty if there are none."
    )
    target_audience: str = Field(
        min_length=1, description="Whom the video seems to be made for. This is a guess from what is shown."
    )
    recommended_music_style: str = Field(min_length=1, description="A style of music that would suit the video.")


class GeneralCaption(Shown):
    """What an image, a recording or a video shows and says.

    Example:
        >>> GeneralCaption.model_validate_json(
        ...     '{"title": "Cat on a roof", "description": "A cat walks along a roof.", "on_screen_text": [],'
        ...     ' "speech": "", "keywords": ["cat", "roof"]}'
        ... ).keywords
        ['cat', 'roof']
    """

    model_config = ConfigDict(json_schema_extra=first_paragraph)

    title: str = Field(min_length=1, description="A title of at most ten words.")
    description: str = Field(
        min_length=1, description="What is seen and heard, from beginning to end, in two to five sentences."
    )
    on_screen_text: list[str] = Field(description="Texts that can be read, word for word; empty if there are none.")
    speech: str = Field(description="What is said, in one or two sentences; empty if nobody speaks.")
    keywords: list[str] = Field(description="Up to ten words to find it by.")
