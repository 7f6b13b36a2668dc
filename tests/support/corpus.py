"""Malformed answers, each with the value or the error that it must lead to.

All share one schema, `Tent`. Most of them mean `GOOD`. A case whose expectation is a `Fails` must raise
`CaptionSyntaxError` with that text.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

BACKSLASH = "\\"


class Tent(BaseModel):
    """What a video sells."""

    name: str
    features: list[str]
    price: float | None


@dataclass(frozen=True)
class Fails:
    """The text that the error must contain."""

    words: str


@dataclass(frozen=True)
class Case:
    """One answer."""

    id: str
    text: str
    expected: dict[str, Any] | Fails
    truncated: bool = False


GOOD = {"name": "Dome", "features": ["light", "quick"], "price": 12.5}
TEXT = json.dumps(GOOD)
PRETTY = json.dumps(GOOD, indent=2)
OTHER = '{"name": "Cone", "features": [], "price": 1}'
MISSING = "Field required"
NO_JSON = "holds no JSON"


def tent(**changes: Any) -> dict[str, Any]:
    """Return GOOD with changes."""
    return {**GOOD, **changes}


def named(name: str) -> str:
    """Write an answer whose name is these characters, as they are, between double quotes."""
    return '{"name": "' + name + '", "features": ["light", "quick"], "price": 12.5}'


def priced(price: str) -> str:
    """Write an answer whose price is these characters."""
    return '{"name": "Dome", "features": ["light", "quick"], "price": ' + price + "}"


def featured(features: str) -> str:
    """Write an answer whose features are these characters."""
    return '{"name": "Dome", "features": ' + features + ', "price": 12.5}'


_GOOD_TEXTS = {
    # fences
    "plain": TEXT,
    "pretty": PRETTY,
    "fence": f"```json\n{TEXT}\n```",
    "fence-bare": f"```\n{TEXT}\n```",
    "fence-upper": f"```JSON\n{PRETTY}\n```",
    "fence-json5": f"```json5\n{TEXT}\n```",
    "fence-one-line": f"```json {TEXT} ```",
    "fence-tilde": f"~~~json\n{TEXT}\n~~~",
    "fence-not-closed": f"```json\n{TEXT}",
    "fence-not-opened": f"{TEXT}\n```",
    "fence-doubled": f"```json\n```json\n{TEXT}\n```\n```",
    "fence-windows": f"```json\r\n{TEXT}\r\n```\r\n",
    "fence-then-prose": f"```json\n{TEXT}\n```\nI hope this helps!",
    "single-backticks": f"`{TEXT}`",
    # prose
    "prose-before": f"Sure! Here is the JSON you asked for:\n\n{TEXT}",
    "prose-after": f"{TEXT}\n\nLet me know if you need anything else.",
    "prose-both": f"Answer: {TEXT} Done.",
    "prose-braces": f"The set {{a, b}} is small. {TEXT}",
    "prose-brackets": f"[stand-in] see [1], [note] and [2]: {TEXT}",
    "prose-empty-braces": f"I used {{}} here. {TEXT}",
    "prose-schema-echo": f'The schema was {{"type": "object", "required": ["name"]}}. {TEXT}',
    "prose-template": f"Fill in {{{{placeholder}}}}: {TEXT}",
    "prose-chinese": f"好的，以下是结果：\n{TEXT}\n希望对您有帮助。",
    "prose-json-word": f"json\n{TEXT}",
    "prose-quote": f'She said "look {{here}}" and: {TEXT}',
    "prose-less-than": f"1 < 2 and <b>bold</b>: {TEXT}",
    "prose-smiley": f":-{{ sorry :-}} {TEXT}",
    "heading": f"# Result\n\n{TEXT}\n",
    "key-equals": f"answer = {TEXT};",
    "xml-around": f"<json>{TEXT}</json>",
    "tool-call-tags": f"<tool_call>\n{TEXT}\n</tool_call>",
    # think tags, BOM, spaces
    "think": f'<think>It is a {{"name": "Cone"}} I guess</think>{TEXT}',
    "think-lines": f"<think>\nhm\n</think>\n\n```json\n{TEXT}\n```",
    "think-empty": f"<think>\n\n</think>\n\n{TEXT}",
    "think-twice": f"<think>{OTHER}</think> so <think>{OTHER}</think> {TEXT}",
    "bom": f"\ufeff{TEXT}",
    "bom-fence": f"\ufeff```json\n{TEXT}\n```",
    "bom-inside": TEXT.replace(", ", ", \ufeff"),
    "no-break-spaces": TEXT.replace(" ", "\u00a0"),
    "ideographic-spaces": TEXT.replace(" ", "\u3000"),
    "leading-newlines": f"\n\n\n\t {TEXT}",
    "form-feed": TEXT.replace(", ", ",\f"),
    # commas
    "trailing-comma": TEXT[:-1] + ",}",
    "trailing-comma-lines": PRETTY.replace("12.5\n", "12.5,\n"),
    "trailing-comma-list": featured('["light", "quick",]'),
    "double-comma": TEXT.replace(", ", ",, "),
    "leading-comma": TEXT.replace("{", "{, "),
    "missing-comma-lines": PRETTY.replace('"Dome",', '"Dome"'),
    "missing-comma": TEXT.replace('"Dome", ', '"Dome" '),
    "missing-comma-in-list": featured('["light"\n "quick"]'),
    "missing-comma-after-list": TEXT.replace("], ", "] "),
    "semicolons": TEXT.replace(", ", "; "),
    # comments
    "comment-line": PRETTY.replace('"Dome",', '"Dome", // the name'),
    "comment-first": PRETTY.replace("{\n", "{\n  // a tent\n"),
    "comment-block": TEXT.replace("[", "/* two */ ["),
    "comment-block-lines": PRETTY.replace("{\n", "{ /* a\n tent */\n"),
    "comment-hash": PRETTY.replace("12.5\n", "12.5  # euros\n"),
    "comment-after-number": PRETTY.replace("12.5\n", "12.5 // euros\n"),
    "comment-with-braces": PRETTY.replace('"Dome",', '"Dome", // } not the end {'),
    "comment-last": PRETTY.replace("\n}", "\n  // the end\n}"),
    "comment-behind": TEXT + " // done",
    # quotes
    "single-quotes": str(GOOD),
    "single-quotes-pretty": PRETTY.replace('"', "'"),
    "typographic-quotes": TEXT.replace('"name"', "“name”").replace('"Dome"', "“Dome”"),
    "typographic-all": "{“name”: “Dome”, “features”: [“light”, “quick”], “price”: 12.5}",
    "typographic-single": "{‘name’: ‘Dome’, ‘features’: [‘light’, ‘quick’], ‘price’: 12.5}",
    "german-quotes": "{„name“: „Dome“, „features“: [„light“, „quick“], „price“: 12.5}",
    "backtick-quotes": TEXT.replace('"', "`"),
    "fullwidth-quotes": TEXT.replace('"', "＂"),
    "corner-quotes": "{「name」: 「Dome」, 「features」: [「light」, 「quick」], 「price」: 12.5}",
    "mixed-quotes": "{'name': \"Dome\", \"features\": ['light', \"quick\"], 'price': 12.5}",
    "keys-without-quotes": '{name: "Dome", features: ["light", "quick"], price: 12.5}',
    "all-without-quotes": "{name: Dome, features: [light, quick], price: 12.5}",
    "values-without-quotes-lines": "{\n  name: Dome\n  features: [light, quick]\n  price: 12.5\n}",
    # Chinese punctuation
    "fullwidth-colon": TEXT.replace(": ", "："),
    "fullwidth-comma": TEXT.replace(", ", "，"),
    "fullwidth-both": TEXT.replace(": ", "：").replace(", ", "，"),
    "fullwidth-brackets": TEXT.replace("[", "［").replace("]", "］"),
    "fullwidth-braces": TEXT.replace("{", "｛").replace("}", "｝"),
    "fullwidth-everything": "｛“name”：“Dome”，“features”：［“light”，“quick”］，“price”：12.5｝",
    "fullwidth-semicolon": TEXT.replace(", ", "；"),
    # doubled and wrapped
    "doubled": TEXT + TEXT,
    "doubled-lines": f"{TEXT}\n{TEXT}\n",
    "doubled-fences": f"```json\n{TEXT}\n```\n```json\n{TEXT}\n```",
    "draft-then-final": f"First: {OTHER}\nFinal answer: {TEXT}",
    "draft-first-then-final": f"{OTHER}\n{TEXT}",
    "example-then-fence": f'The format is {{"name": "...", "features": [], "price": 0}}. Answer:\n```json\n{TEXT}\n```',
    "fence-then-example": f'```json\n{TEXT}\n```\nThe format was {{"name": "...", "features": [], "price": 0}}.',
    "answer-then-example": f'{TEXT}\n\nThe format was {{"name": "...", "features": [], "price": 0}}.',
    "answer-then-template": f'{TEXT} as in {{"name": "<the name>", "features": [], "price": 0}}',
    "fenced-example-then-answer": f'```json\n{{"name": "…", "features": [], "price": 0}}\n```\n{TEXT}',
    "list-of-two-alike": f"[{TEXT}, {TEXT}]",
    "equals-signs": TEXT.replace(":", "="),
    "arrows": TEXT.replace(":", " =>"),
    "a-comma-missing-in-a-list": TEXT.replace('"light", ', '"light" '),
    "fenced-draft-then-fence": f"```json\n{OTHER}\n```\nBetter:\n```json\n{TEXT}\n```",
    "final-that-breaks-the-schema-is-no-answer": f'{TEXT} in the form {{"name": 1, "features": 2, "price": "x"}}',
    "thinking-closed-never-opened": f"maybe {OTHER} no\n</think>\n{TEXT}",
    "thinking-never-opened-draft-cut": f'maybe {{"name": "Co\n</think>\n\n{TEXT}',
    "thinking-never-opened-in-fence": f"Let me see {{\n</think>\n```json\n{TEXT}\n```",
    "thinking-opened-twice-closed-once": f"<think>{OTHER} <think> {OTHER} </think>{TEXT}",
    "thinking-behind-a-draft": f"{OTHER} <think>that was wrong</think> {TEXT}",
    "broken-then-good": f'{{"name": "Dome"}} Wait, better: {TEXT}',
    "in-list": f"[{TEXT}]",
    "in-result": f'{{"result": {TEXT}}}',
    "in-class-name": f'{{"Tent": {TEXT}}}',
    "in-two-wrappers": f'{{"data": {{"tent": {TEXT}}}}}',
    "in-wrapped-list": f'{{"tents": [{TEXT}]}}',
    "in-json-string": json.dumps(TEXT),
    "extra-fields": TEXT.replace("{", '{"thought": "hm", '),
    "extra-nested-field": TEXT.replace("{", '{"meta": {"x": [1]}, '),
    "duplicate-key-same": TEXT.replace("{", '{"name": "Dome", '),
    "other-order": '{"price": 12.5, "features": ["light", "quick"], "name": "Dome"}',
    # brackets
    "brace-too-many": TEXT + "}",
    "bracket-too-many": featured('["light", "quick"]]'),
    "bracket-missing-in-middle": '{"name": "Dome", "price": 12.5, "features": ["light", "quick"}',
    "opening-fence-inside-text-behind": f"{TEXT}\n```python\nprint({{}})\n```",
    # numbers
    "number-as-text": priced('"12.5"'),
    "number-plus": priced("+12.5"),
    "number-exponent": priced("1.25e1"),
    "number-zeros": priced("12.50"),
    "number-leading-zero": priced("012.5"),
    "number-spaces-in-text": priced('" 12.5 "'),
    # constants beside
    "python-true-extra": TEXT.replace("{", '{"live": True, '),
    "undefined-extra": TEXT.replace("{", '{"live": undefined, '),
    "nan-extra": TEXT.replace("{", '{"score": NaN, '),
    "infinity-extra": TEXT.replace("{", '{"score": -Infinity, '),
    "ellipsis-list": featured('["light", "quick", ...]'),
    "ellipsis-object": TEXT[:-1] + ", ...}",
    "key-without-value-extra": TEXT.replace("{", '{"note": , '),
}  # fmt: skip

_VALUES: dict[str, tuple[str, dict[str, Any]]] = {
    "price-null": (priced("null"), tent(price=None)),
    "price-none": (priced("None"), tent(price=None)),
    "price-nan": (priced("NaN"), tent(price=None)),
    "price-infinity": (priced("Infinity"), tent(price=None)),
    "price-minus-infinity": (priced("-Infinity"), tent(price=None)),
    "price-undefined": (priced("undefined"), tent(price=None)),
    "price-negative": (priced("-3"), tent(price=-3)),
    "price-no-zero": (priced(".5"), tent(price=0.5)),
    "price-dot-at-end": (priced("5."), tent(price=5)),
    "price-true-is-one": (priced("true"), tent(price=1)),
    "features-empty": (featured("[]"), tent(features=[])),
    "features-empty-comma": (featured("[,]"), tent(features=[])),
    "name-empty": (named(""), tent(name="")),
    "name-escapes": (named(r"a\tb\nc\"d\\e\/f"), tent(name='a\tb\nc"d\\e/f')),
    "name-unicode-escape": (named(r"\u5e10\u7bf7"), tent(name="帐篷")),
    "name-surrogates": (named(r"\ud83d\ude00"), tent(name="😀")),
    "name-lone-surrogate": (named(r"\ud83d!"), tent(name="\ufffd!")),
    "name-lone-low-surrogate": (named(r"\ude00!"), tent(name="\ufffd!")),
    "name-two-high-surrogates": (named(r"\ud83d\ud83d\ude00"), tent(name="\ufffd😀")),
    "name-wrong-escape": (named(r"it\'s 5\% off"), tent(name=r"it's 5\% off")),
    "name-short-unicode-escape": (named(r"\u12"), tent(name=r"\u12")),
    "name-latex": (named(r"\alpha + \sqrt{x} + \frac{a}{b}"), tent(name=r"\alpha + \sqrt{x} + \frac{a}{b}")),
    "name-latex-that-is-json": (named(r"\frac{a}{b}"), tent(name=r"\frac{a}{b}")),
    "name-latex-first": (named(r"\beta \theta \nabla \sum"), tent(name=r"\beta \theta \nabla \sum")),
    "name-latex-doubled": (named(r"\\frac{a}{b} \\theta"), tent(name=r"\frac{a}{b} \theta")),
    "name-path": (named(r"C:\Videos\final"), tent(name=r"C:\Videos\final")),
    "name-line-breaks-beside-a-wrong-escape": (named(r"5\% off\nnext\tline"), tent(name="5\\% off\nnext\tline")),
    "name-half-character": (named("a\ud83d!"), tent(name="a\ufffd!")),
    "name-bare-number-with-comma": (
        '{"features": [], "price": 1, "name": 1,234}',
        {"name": "1,234", "features": [], "price": 1},
    ),
    "name-raw-newline": (named("two\nlines"), tent(name="two\nlines")),
    "name-raw-tab": (named("a\tb"), tent(name="a\tb")),
    "name-control-character": (named("a\x01b"), tent(name="a\x01b")),
    "name-inner-quotes": (named('the "best" tent'), tent(name='the "best" tent')),
    "name-inner-quotes-comma": (named('he said "hi", and left'), tent(name='he said "hi", and left')),
    "name-inner-quote-inches": (named('a 7" pole'), tent(name='a 7" pole')),
    "name-quotes-at-both-ends": (named('"Dome"'), tent(name='"Dome"')),
    "name-apostrophe-in-single": (TEXT.replace('"', "'").replace("Dome", "it's big"), tent(name="it's big")),
    "name-braces": (named("{x} [y] }"), tent(name="{x} [y] }")),
    "name-comment-look": (named("http://x // y /* z */ # 1"), tent(name="http://x // y /* z */ # 1")),
    "name-fence": (named("```json"), tent(name="```json")),
    "name-think": (named("<think>no</think>"), tent(name="<think>no</think>")),
    "name-chinese-punctuation": (named("轻，快：“好”！"), tent(name="轻，快：“好”！")),
    "name-chinese-quotes-in-chinese": (
        "{“name”：“他说“好”了”，“features”：[]，“price”：1}",
        {"name": "他说“好”了", "features": [], "price": 1},
    ),
    "name-bare-with-colon": (
        "{name: 00:01:02, features: [], price: 1}",
        {"name": "00:01:02", "features": [], "price": 1},
    ),
    "name-bare-url": (
        "{name: http://a.b/c, features: [], price: 1}",
        {"name": "http://a.b/c", "features": [], "price": 1},
    ),
    "name-bare-spaces": (
        "{name: big red dome, features: [], price: 1}",
        {"name": "big red dome", "features": [], "price": 1},
    ),
    "name-one-megabyte": (named("x" * 2**20), tent(name="x" * 2**20)),
    "name-one-megabyte-fenced": (f"```json\n{named('x y' * 2**19)},\n```", tent(name="x y" * 2**19)),
    "name-one-megabyte-of-quotes": (
        "{'name': '" + "it's " * 200_000 + "', 'features': [], 'price': 1}",
        {"name": "it's " * 200_000, "features": [], "price": 1},
    ),
    "many-features": (featured(json.dumps(["f"] * 20_000)), tent(features=["f"] * 20_000)),
    "second-is-only-one-with-fields": (f'{{"x": 1}} {OTHER}', {"name": "Cone", "features": [], "price": 1}),
    "prose-a-megabyte": ("blah { blah " * 90_000 + TEXT, GOOD),
    "whitespace-a-megabyte": (" " * 2**20 + TEXT, GOOD),
    "depth-in-extra-field": ('{"x": ' + "[" * 150 + "]" * 150 + ", " + TEXT[1:], GOOD),
    "nul": (named("a\0b"), tent(name="a\0b")),
}

_ENDS_EARLY: dict[str, tuple[str, dict[str, Any]]] = {
    "cut-last-brace": (TEXT[:-1] + " ", GOOD),
    "cut-in-fence": (f"```json\n{PRETTY[:-2]}\n", GOOD),
    "cut-in-last-text": ('{"price": 1, "features": [], "name": "Do', {"name": "Do", "features": [], "price": 1}),
    "cut-in-last-list": ('{"price": 1, "name": "Dome", "features": ["light", "qu', {"name": "Dome", "features": ["light", "qu"], "price": 1}),
    "cut-in-escape": ('{"price": 1, "features": [], "name": "a' + BACKSLASH, {"name": "a", "features": [], "price": 1}),
    "cut-in-unicode-escape": ('{"price": 1, "features": [], "name": "a' + BACKSLASH + "u5e", {"name": "a", "features": [], "price": 1}),
    "cut-between-surrogates": ('{"price": 1, "features": [], "name": "a' + BACKSLASH + "ud83d", {"name": "a", "features": [], "price": 1}),
    "cut-after-optional-key": (TEXT[:-1] + ', "more', GOOD),
    "cut-in-extra-number": (TEXT[:-1] + ', "more": 12', GOOD),
    "cut-in-extra-constant": (TEXT[:-1] + ', "more": tru', GOOD),
    "cut-in-comment": (TEXT[:-1] + " // and", GOOD),
    "cut-wrapper": (f'{{"result": {TEXT}', GOOD),
}  # fmt: skip

_FAILURES: dict[str, tuple[str, str]] = {
    "duplicate-key-with-another-value": (TEXT[:-1] + ', "name": "Cone"}', "name: stands there twice"),
    "duplicate-key-inside": (TEXT[:-1] + ', "more": {"a": 1, "a": 2}}', "a: stands there twice"),
    "price-overflow": (priced("1e999"), "price: is not a finite number"),
    "price-400-digits": (priced("9" * 400), "price: is not a finite number"),
    "price-infinity-as-text": (priced('"Infinity"'), "price: is not a finite number"),
    "price-thousands": (priced("1,234"), "price: Input should be a valid number"),
    "price-thousands-first": (
        '{"price": 1,234, "name": "Dome", "features": []}',
        "price: Input should be a valid number",
    ),
    "price-millions": (priced("1,234,567.8"), "price: Input should be a valid number"),
    "price-thousands-space": (priced("1, 234"), "price: Input should be a valid number"),
    "draft-in-thinking-alone": (f"maybe {TEXT} no\n</think>\n", NO_JSON),
    "draft-then-cut-final": (f'{TEXT}\nNo: {{"name": "Cone", "fea', "ends in the middle"),
    "empty": ("", "is empty"),
    "spaces": (" \n\t ", "is empty"),
    "only-bom": ("\ufeff", "is empty"),
    "refusal": ("I'm sorry, I cannot describe this video.", NO_JSON),
    "prose": ("The tent is called Dome and costs 12.5.", NO_JSON),
    "null": ("null", NO_JSON),
    "number": ("12.5", NO_JSON),
    "text": ('"Dome"', NO_JSON),
    "constant": ("true", NO_JSON),
    "key-without-colon": (TEXT.replace(", ", ", note, ", 1), MISSING),
    "prose-like-object": (TEXT.replace("{", "{note, "), NO_JSON),
    "only-think": (f"<think>{TEXT}</think>", NO_JSON),
    "think-never-ends": (f"<think>{TEXT}", NO_JSON),
    "list-of-texts": ('["light", "quick"]', NO_JSON),
    "empty-object": ("{}", MISSING),
    "empty-list": ("[]", NO_JSON),
    "open-brace": ("{", MISSING),
    "fence-only": ("```json\n```", NO_JSON),
    "yaml": ("name: Dome\nfeatures:\n  - light\nprice: 12.5", NO_JSON),
    "xml": ("<tent><name>Dome</name></tent>", NO_JSON),
    "markdown-table": ("| name | price |\n|---|---|\n| Dome | 12.5 |", NO_JSON),
    "missing-name": ('{"features": [], "price": 1}', "name: Field required"),
    "missing-features": ('{"name": "Dome", "price": 1}', "features: Field required"),
    "missing-price": ('{"name": "Dome", "features": []}', "price: Field required"),
    "missing-value": ('{"name": , "features": [], "price": 1}', "name: Field required"),
    "missing-value-at-end": ('{"name": "Dome", "features": [], "price": }', "price: Field required"),
    "missing-colon-value": ('{"name" "features": [], "price": 1}', MISSING),
    "key-in-other-case": ('{"Name": "Dome", "Features": [], "Price": 1}', MISSING),
    "keys-in-chinese": ('{"名称": "Dome", "特点": [], "价格": 1}', MISSING),
    "fields-split-over-two-objects": ('{"name": "Dome"}{"features": [], "price": 1}', MISSING),
    "name-null": ('{"name": null, "features": [], "price": 1}', "name: Input should be a valid string"),
    "name-number": ('{"name": 7, "features": [], "price": 1}', "name: Input should be a valid string"),
    "name-list": ('{"name": ["Dome"], "features": [], "price": 1}', "name: Input should be a valid string"),
    "name-object": ('{"name": {"en": "Dome"}, "features": [], "price": 1}', "name: Input should be a valid string"),
    "features-text": (featured('"light, quick"'), "features: Input should be a valid array"),
    "features-object": (featured('{"0": "light"}'), "features: Input should be a valid array"),
    "features-numbers": (featured("[1, 2]"), "features.0: Input should be a valid string"),
    "features-nested": (featured('[["light"]]'), "features.0: Input should be a valid string"),
    "features-null": (featured("null"), "features: Input should be a valid array"),
    "features-nan-inside": (featured("[NaN]"), "features.0: Input should be a valid string"),
    "price-words": (priced('"twelve"'), "price: Input should be a valid number"),
    "price-unit": (priced('"12.5 EUR"'), "price: Input should be a valid number"),
    "price-bare-unit": (priced("12.5 EUR"), "price: Input should be a valid number"),
    "price-comma": (priced('"12,5"'), "price: Input should be a valid number"),
    "price-list": (priced("[12.5]"), "price: Input should be a valid number"),
    "price-empty-text": (priced('""'), "price: Input should be a valid number"),
    "price-hexadecimal": (priced("0x1F"), "price: Input should be a valid number"),
    "price-endless-digits": (priced('"' + "9" * 5000 + '"x'), "price: Input should be a valid number"),
    "too-deep": ("{" + '"a": {' * 300, "nests deeper than 200"),
    "too-deep-in-list": (featured("[" * 5000), "nests deeper than 200"),
    "too-deep-in-answer": ('{"name": ' + "[" * 100_000, "nests deeper than 200"),
    "cut-in-key": ('{"name": "Dome", "feat', "ends in the middle"),
    "cut-after-colon": ('{"name": "Dome", "features":', "ends in the middle"),
    "cut-in-number": (TEXT[:-2], "price: Field required"),
    "cut-before-price": (TEXT[:44], "price: Field required"),
    "schema-instead-of-answer": (json.dumps(Tent.model_json_schema()), MISSING),
    "list-of-two": (f"[{TEXT}, {OTHER}]", "is a list of several objects, where one is expected"),
    "list-of-two-in-a-fence": (f"```json\n[\n{TEXT},\n{OTHER}\n]\n```", "is a list of several objects"),
    "list-of-two-with-mistakes": (f"[{TEXT}, {OTHER},]", "is a list of several objects"),
    "two-broken": ('{"name": "Dome"} or {"name": "Cone"}', MISSING),
    "html-error-page": ("<html><body>502 Bad Gateway</body></html>", NO_JSON),
    "error-object": ('{"error": {"code": "x", "message": "y"}}', MISSING),
    "binary": ("\x00\x01\x02\x03", NO_JSON),
    "replacement-characters": ("\ufffd" * 10, NO_JSON),
}

CASES: tuple[Case, ...] = (
    *(Case(name, text, GOOD) for name, text in _GOOD_TEXTS.items()),
    *(Case(name, text, value) for name, (text, value) in _VALUES.items()),
    *(Case(name, text, value, truncated=True) for name, (text, value) in _ENDS_EARLY.items()),
    *(Case(name, text, Fails(words)) for name, (text, words) in _FAILURES.items()),
)
