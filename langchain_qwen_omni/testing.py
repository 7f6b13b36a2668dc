"""`VideoInputTests`: standard tests for chat models with video input. For any LangChain chat model, not only ours.

LangChain's standard suite has a flag `supports_video_inputs` but no test for it. Mix this class into a subclass of
`ChatModelIntegrationTests`, or use it alone with the two properties that it needs. It imports pytest; nothing else in
this package imports it.
"""

import base64
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoClip:
    """A clip with known content.

    Attributes:
        data: the bytes of the file.
        question: the question about it.
        expected: texts that a correct answer must contain, ignoring case. Choose texts that cannot be guessed, or the
            tests prove nothing.
        mime_type: MIME type of the file.
        url: a public link to the same file, or `None` to skip the test with a link.
    """

    data: bytes
    question: str
    expected: tuple[str, ...]
    mime_type: str = "video/mp4"
    url: str | None = None


class VideoInputTests:
    """Tests of video input, standard content blocks first. All are skipped if `supports_video_inputs` is off.

    Example:
        class TestVideo(VideoInputTests, ChatModelIntegrationTests):
            chat_model_class = ChatQwenOmni
            supports_video_inputs = True

            @property
            def video_clip(self) -> VideoClip:
                data = Path("door.mp4").read_bytes()
                return VideoClip(data=data, question="What number is on the door?", expected=("4711",))
    """

    @property
    def video_clip(self) -> VideoClip:
        """The clip that the questions are about."""
        pytest.fail("Override video_clip to return a VideoClip.")

    @property
    def supports_video_inputs(self) -> bool:
        """Whether the model takes video; LangChain's own flag."""
        return True

    @property
    def video_answer_holds_tokens(self) -> bool:
        """Whether usage reports video tokens, as `input_token_details["video"]`."""
        return False

    @property
    def supports_openai_video_parts(self) -> bool:
        """Whether OpenAI-style parts (`{"type": "video_url", …}`) are supported as well."""
        return False

    @property
    def supports_video_tool_message(self) -> bool:
        """Whether a tool may return a video."""
        return False

    @pytest.fixture(autouse=True)
    def _only_with_video(self) -> None:
        if not self.supports_video_inputs:
            pytest.skip("Model does not support video inputs.")

    def _block(self) -> dict[str, Any]:
        clip = self.video_clip
        return {"type": "video", "base64": base64.b64encode(clip.data).decode(), "mime_type": clip.mime_type}

    def _question(self, block: dict[str, Any]) -> HumanMessage:
        return HumanMessage([block, {"type": "text", "text": self.video_clip.question}])

    def _check(self, answer: AIMessage) -> None:
        assert isinstance(answer, AIMessage)
        text = str(answer.text).lower()
        missing = [wanted for wanted in self.video_clip.expected if wanted.lower() not in text]
        assert not missing, f"the answer does not say {missing}: {text[:500]}"

    def test_video_base64(self, model: BaseChatModel) -> None:
        """The model answers correctly about a video passed as base64, and leaves the message unchanged."""
        question = self._question(self._block())
        before = question.model_dump_json()
        self._check(model.invoke([question]))
        assert question.model_dump_json() == before

    async def test_video_base64_async(self, model: BaseChatModel) -> None:
        """The same, asynchronously."""
        self._check(await model.ainvoke([self._question(self._block())]))

    def test_video_stream(self, model: BaseChatModel) -> None:
        """The chunks of a streamed answer about a video add up to a correct answer."""
        full: AIMessageChunk | None = None
        for chunk in model.stream([self._question(self._block())]):
            assert isinstance(chunk, AIMessageChunk)
            full = chunk if full is None else full + chunk
        assert full is not None
        self._check(full)

    def test_video_url(self, model: BaseChatModel) -> None:
        """The model answers correctly about a video passed as a link."""
        if self.video_clip.url is None:
            pytest.skip("There is no link to the clip.")
        self._check(model.invoke([self._question({"type": "video", "url": self.video_clip.url})]))

    def test_video_order(self, model: BaseChatModel) -> None:
        """The model answers correctly if the question comes before the video."""
        ask = {"type": "text", "text": self.video_clip.question}
        self._check(model.invoke([HumanMessage([ask, self._block()])]))

    def test_video_in_history(self, model: BaseChatModel) -> None:
        """The model answers correctly about a video from an earlier turn."""
        history = [HumanMessage([self._block(), "Keep this clip in mind."]), AIMessage("I will."),
                   HumanMessage(self.video_clip.question)]  # fmt: skip
        self._check(model.invoke(history))

    def test_video_usage(self, model: BaseChatModel) -> None:
        """Usage includes the video: the question uses more input tokens with it than without."""
        with_video = model.invoke([self._question(self._block())])
        without = model.invoke([HumanMessage(self.video_clip.question)])
        assert with_video.usage_metadata is not None
        assert without.usage_metadata is not None
        assert with_video.usage_metadata["input_tokens"] > without.usage_metadata["input_tokens"]
        if self.video_answer_holds_tokens:
            details: dict[str, Any] = dict(with_video.usage_metadata.get("input_token_details", {}))
            assert details["video"] > 0

    def test_video_openai_part(self, model: BaseChatModel) -> None:
        """The model answers correctly about a video passed as an OpenAI-style part."""
        if not self.supports_openai_video_parts:
            pytest.skip("Model does not take OpenAI-style video parts.")
        uri = f"data:{self.video_clip.mime_type};base64,{self._block()['base64']}"
        self._check(model.invoke([self._question({"type": "video_url", "video_url": {"url": uri}})]))

    def test_video_tool_message(self, model: BaseChatModel) -> None:
        """The model answers correctly about a video that a tool returned."""
        if not self.supports_video_tool_message:
            pytest.skip("Model does not take video from tools.")
        call = {"name": "look", "args": {}, "id": "call_1", "type": "tool_call"}
        history = [HumanMessage(self.video_clip.question), AIMessage("", tool_calls=[call]),
                   ToolMessage([self._block()], tool_call_id="call_1", name="look")]  # fmt: skip
        self._check(model.invoke(history))

    def test_video_block_that_is_none(self, model: BaseChatModel) -> None:
        """A video block without a video raises rather than being dropped silently."""
        with pytest.raises(Exception, match=r".+"):  # of any class, but with a message
            model.invoke([self._question({"type": "video"})])
