"""Both frameworks, the examples and `doctor` on the real servers: `make test-servers`.

What the tiny model says is noise, so answers are checked for their form: text that arrives, tokens that are counted, a
limit that is kept, an error that is one of the package's. The stand-in behind LiteLLM answers in earnest.
"""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage, TextBlock, VideoBlock
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain, QwenOmniVideoLoader
from llama_index_qwen_omni import LongVideoWorkflow, QwenOmni, QwenOmniVideoReader
from qwen_omni.diagnostics import examine
from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.video.options import SummaryOptions
from tests.servers.install import ROOT

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

_noise = pytest.mark.filterwarnings("ignore::UserWarning")  # retries and gaps of an answer that is noise

_ONE_TRY = SummaryOptions(step_retries=0, checkpoint=False)


class Weather(BaseModel):
    """Return the weather."""

    sunny: bool = Field(description="whether the sun shines")


def look() -> str:
    """Look out of the window."""
    return "snow"


@pytest.fixture
def chosen(server, settings_here):
    """The arguments of a chat model, in both frameworks."""
    return {
        "model": server.model, "base_url": server.url, "api_key": server.key, "max_tokens": 8, "max_retries": 0,
        "media_root": settings_here.media_root, "request_kwargs": settings_here.request_kwargs,
    }  # fmt: skip


@pytest.fixture
def langchain(chosen):
    with closing(ChatQwenOmni(**chosen)) as llm:
        yield llm


@pytest.fixture
def llama_index(chosen):
    llm = QwenOmni(**chosen)
    yield llm
    llm.close()


@pytest.fixture
def seen(server, files) -> Path:
    """A video with audio, long enough for the hosted model."""
    return files["video heard"]


def test_langchain_chats_and_streams_about_a_video(langchain, seen):
    asked = [HumanMessage([{"type": "video", "path": str(seen)}, {"type": "text", "text": "?"}])]
    answer = langchain.invoke(asked)
    pieces = list(langchain.stream(asked))
    whole = sum(pieces[1:], pieces[0])
    for one in (answer, whole):
        assert one.text
        assert one.usage_metadata["input_tokens"] > 100
        reasoning = one.usage_metadata.get("output_token_details", {}).get("reasoning", 0)
        assert one.usage_metadata["output_tokens"] - reasoning <= 8


async def test_langchain_streams_in_asyncio(langchain, seen):
    asked = [HumanMessage([{"type": "video", "path": str(seen)}, {"type": "text", "text": "?"}])]
    assert "".join([piece.text async for piece in langchain.astream(asked)])


def test_langchain_offers_tools(langchain):
    answer = langchain.bind_tools([look]).invoke("What is the weather?")
    assert answer.text or answer.tool_calls


def test_langchain_requires_a_tool_or_refuses_to(langchain, server):
    """Where vLLM answers, it forces the form of the call, whatever the model; transformers serve cannot."""
    forced = langchain.bind_tools([look], tool_choice="look")
    if server.kind == "transformers":
        with pytest.raises(ConfigurationError, match="cannot be required to call a tool"):
            forced.invoke("What is the weather?", max_tokens=48)
        return
    answer = forced.invoke("What is the weather?", max_tokens=48)
    assert [call["name"] for call in (*answer.tool_calls, *answer.invalid_tool_calls)] == ["look"]


def test_langchain_answers_in_a_schema_or_refuses_to(langchain, server):
    """Where vLLM answers, it forces the form of the answer, whatever the model."""
    asking = langchain.with_structured_output(Weather, method="json_schema")
    if server.kind == "transformers" or server.hosted:
        with pytest.raises(ConfigurationError, match=r"JSON schemas|json_schema="):
            asking.invoke("Is it sunny?", max_tokens=48)
        return
    assert isinstance(asking.invoke("Is it sunny?", max_tokens=48), Weather)


def _documents_or_error(load, server):
    """Documents where there is an answer in earnest, else the error of an answer that is noise."""
    if server.hosted:
        documents = load()
        assert documents
        return
    with pytest.raises(QwenOmniError):
        load()


@_noise
def test_langchain_loads_a_video(chosen, server, seen):
    with closing(ChatQwenOmni(**{**chosen, "max_tokens": 2_000 if server.hosted else 32})) as llm:
        _documents_or_error(QwenOmniVideoLoader(seen, llm, options=_ONE_TRY).load, server)


@_noise
def test_langchain_summarises_a_long_video(chosen, server, seen):
    with closing(ChatQwenOmni(**{**chosen, "max_tokens": 2_000 if server.hosted else 32})) as llm:
        chain = LongVideoChain(llm, options=_ONE_TRY, segment_seconds=3, overlap=0)
        _documents_or_error(lambda: [chain.invoke(seen)], server)


def test_llama_index_chats_and_streams_about_a_video(llama_index, seen):
    asked = [ChatMessage(blocks=[VideoBlock(path=seen), TextBlock(text="?")])]
    assert llama_index.chat(asked).message.content
    assert "".join(piece.delta or "" for piece in llama_index.stream_chat(asked))


async def test_llama_index_streams_in_asyncio(llama_index, seen):
    asked = [ChatMessage(blocks=[VideoBlock(path=seen), TextBlock(text="?")])]
    assert "".join([piece.delta or "" async for piece in await llama_index.astream_chat(asked)])


def test_llama_index_offers_tools(llama_index):
    answer = llama_index.chat_with_tools([FunctionTool.from_defaults(look)], user_msg="What is the weather?")
    assert answer.message.content or llama_index.get_tool_calls_from_response(answer, error_on_no_tool_call=False)


@_noise
def test_llama_index_reads_a_video(chosen, server, seen):
    llm = QwenOmni(**{**chosen, "max_tokens": 2_000 if server.hosted else 32})
    reader = QwenOmniVideoReader(llm=llm, options=_ONE_TRY)
    _documents_or_error(lambda: reader.load_data(seen), server)
    llm.close()


@_noise
async def test_llama_index_summarises_a_long_video(chosen, server, seen):
    llm = QwenOmni(**{**chosen, "max_tokens": 2_000 if server.hosted else 32})
    work = LongVideoWorkflow(llm, options=_ONE_TRY, segment_seconds=3, overlap=0)
    if server.hosted:
        assert (await work.run(video=str(seen))).summary
    else:
        with pytest.raises(QwenOmniError):
            await work.run(video=str(seen))
    await llm.aclose()


def _environment(server) -> dict[str, str]:
    return {
        **os.environ, "DASHSCOPE_BASE_URL": server.url, "DASHSCOPE_API_KEY": server.key,
        "QWEN_OMNI_MODEL": server.model, "PYTHONPATH": str(ROOT),
    }  # fmt: skip


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_the_example_runs(framework, server):
    """Unchanged: the server says what it is."""
    script = ROOT / "examples" / framework / "self_hosted.py"
    ran = subprocess.run(
        [sys.executable, script], env=_environment(server), capture_output=True, text=True, timeout=600, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip()


def test_doctor_finds_nothing_wrong(server, settings_here):
    found = {one.name: one for one in examine(settings_here, server.model)}
    assert [(one.name, one.text) for one in found.values() if one.verdict == "bad"] == []
    if not server.hosted:
        assert {"image", "audio", "video"} <= set(found)


def test_doctor_prints_its_findings(server):
    command = [sys.executable, "-c", "from qwen_omni.cli.main import run; run()", "doctor", "--model", server.model]
    ran = subprocess.run(command, env=_environment(server), capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
