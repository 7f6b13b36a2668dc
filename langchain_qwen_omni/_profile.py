"""Our facts about a model → LangChain's `ModelProfile`. Pure."""

from typing import Any, cast, get_args, get_type_hints

from langchain_core.language_models.model_profile import ModelProfile

from qwen_omni.options import Effort
from qwen_omni.profiles import Profile


def to_model_profile(profile: Profile) -> ModelProfile:
    """Tell what a model can do in LangChain's words, as far as the installed version has words for it."""
    reasons = profile.thinking != "none"
    facts: dict[str, Any] = {
        "name": profile.name,
        "max_input_tokens": profile.max_input,
        "max_output_tokens": profile.max_output,
        "text_inputs": "text" in profile.inputs,
        "image_inputs": "image" in profile.inputs,
        "image_url_inputs": "image" in profile.inputs,
        "audio_inputs": "audio" in profile.inputs,
        "video_inputs": "video" in profile.inputs,
        "pdf_inputs": False,
        "image_tool_message": "image" in profile.inputs,  # sent behind the tool's result, see `_messages`
        "pdf_tool_message": False,
        "text_outputs": True,
        "image_outputs": False,
        "video_outputs": False,
        "audio_outputs": profile.speaks,
        "reasoning_output": reasons,
        "tool_calling": profile.tools,
        "tool_choice": profile.tools,
        "tool_call_streaming": profile.tools,
        "structured_output": profile.json_schema,
        "temperature": True,
        "attachment": profile.inputs != frozenset({"text"}),
    }
    if profile.thinking == "effort":
        facts["reasoning_effort_levels"] = list(get_args(Effort))
        facts["reasoning_effort_default"] = "xhigh"
    known = get_type_hints(ModelProfile)
    return cast("ModelProfile", {name: fact for name, fact in facts.items() if name in known})
