"""A schema → what to bind to the model, and the parser of its answer. Pure.

`ChatQwenOmni.with_structured_output` puts the two together.
"""

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.base import BaseGenerationOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langchain_qwen_omni.output_parsers import CaptionOutputParser
from qwen_omni.errors import ConfigurationError

Method = Literal["json_schema", "function_calling", "json_mode"]
Schema = dict[str, Any] | type

_TITLE = "answer"  # of a JSON schema that has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How to ask for a schema: options to bind, and the parser of what comes."""

    options: dict[str, Any]
    parser: Runnable[Any, Any]


def plan_structure(schema: Schema | None, method: Method, *, strict: bool | None) -> Structure:
    """Decide how to ask for answers of a schema.

    Raises:
        ConfigurationError: no schema where one is needed, one that cannot be read, or an unknown method.
    """
    schema = _titled(schema)
    try:
        return _plan(schema, method, strict=strict)
    except ConfigurationError:
        raise  # which is a ValueError, too
    except ValueError as error:  # LangChain's own word for what it takes for no schema
        raise ConfigurationError(
            f"This {type(schema).__name__} is no schema that can be asked for; pass a pydantic class, a TypedDict, "
            'or a JSON schema with "title" and "properties".'
        ) from error


def _titled(schema: Schema | None) -> Schema | None:
    """Give a JSON schema without a name one: LangChain makes a function of it, and a function has a name."""
    if isinstance(schema, dict) and "properties" in schema and not {"title", "name"} & schema.keys():
        return {"title": _TITLE, **schema}
    return schema


def _plan(schema: Schema | None, method: Method, *, strict: bool | None) -> Structure:
    trace = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    if method == "json_mode":
        if strict:
            raise ConfigurationError("JSON mode knows no schema, so strict= has nothing to hold to; drop one of them.")
        told = {"ls_structured_output_format": trace} if schema is not None else {}
        return Structure(options={"response_format": {"type": "json_object"}, **told}, parser=_text_parser(schema))
    if schema is None:
        raise ConfigurationError(f"method={method!r} needs a schema; without one use method='json_mode'.")
    if method == "json_schema":
        wanted = {"type": "json_schema", "json_schema": {"schema": convert_to_json_schema(schema, strict=strict)}}
        options = {"response_format": wanted, "ls_structured_output_format": trace}
        return Structure(options=options, parser=_text_parser(schema))
    if method == "function_calling":
        tool = convert_to_openai_tool(schema, strict=strict)
        name = tool["function"]["name"]
        options = {"tools": [tool], "tool_choice": name, "ls_structured_output_format": trace}
        return Structure(options=options, parser=_call_parser(schema, name))
    raise ConfigurationError(f"method={method!r}: pass 'json_schema', 'function_calling' or 'json_mode'.")


def _text_parser(schema: Schema | None) -> BaseOutputParser[Any]:
    if schema is None:
        return JsonOutputParser()
    if not isinstance(schema, type):
        return CaptionOutputParser(schema=convert_to_json_schema(schema))
    if issubclass(schema, BaseModel):
        return CaptionOutputParser(schema=schema, partials=False)  # LangChain's rule: nothing but instances
    if is_basemodel_subclass(schema):  # pydantic 1
        return PydanticOutputParser(pydantic_object=schema)  # type: ignore[type-var]
    return CaptionOutputParser(schema=convert_to_json_schema(schema))


def _call_parser(schema: Schema, name: str) -> BaseGenerationOutputParser[Any] | BaseOutputParser[Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return PydanticToolsParser(tools=[schema], first_tool_only=True)
    return JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def with_raw(llm: Runnable[Any, Any], parser: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Join model and parser so that both the message and its parse come out, and errors of parsing do not raise."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=llm) | parsed.with_fallbacks([failed], exception_key="parsing_error")
