"""Makes external text safe to show: without secrets and media, and without control sequences.

Everything that shows external text (an answer of the service, a URL, an exception of the connection) passes it
through `redact` first, which keeps what helps to find a mistake: hosts, paths, numbers. `clean` then escapes it for
its destination: file names, answers of models and media tags are untrusted.

Such text may have any length and may be crafted to be slow, so it is shortened before a pattern sees it, and no
pattern examines a character more than a bounded number of times: repeats are possessive, and what may precede a mark
is bounded.
"""

import functools
import html
import re
from collections.abc import Callable
from typing import Any, Literal

LONGEST = 20_000
"""The most characters of a text that are examined and shown; of a longer one, its beginning and its end."""
_Replacement = str | Callable[[re.Match[str]], str]
_HEAD, _TAIL = 15_000, 4_000
_CUT_WORDS = 3

_ENCODED = "%(?:25){0,3}"  # for text that was percent-encoded up to four times
_DATA_URI = (
    rf"(?i)(?:(?<![a-z0-9])data(?::|{_ENCODED}3A)[^\s,<>]{{0,200}}?(?:;|{_ENCODED}3B)\s{{0,4}}|(?<![a-z0-9]))"
    rf"base64\s{{0,4}}(?:,|{_ENCODED}2C)\s{{0,8}}"
    r"(?:[a-z0-9+/=_%-]|\\[rn/])*+(?:\s{1,8}[a-z0-9+/_%-]{16,}+={0,2})*+(?:\s{1,8}[a-z0-9+/_-]{0,76}={1,2})?"
    rf"|(?<![a-z0-9])data(?::|{_ENCODED}3A)[a-z]{{1,20}}(?:/|{_ENCODED}2F)[^\s,<>\"']{{1,120}},[^\s<>\"']{{24,}}+"
)
_URL = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}+:(?:\\?/|\\u002[Ff]){2}[^\s\"'<>]*+"
_HALF_URL = rf"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{{0,30}}+{_ENCODED}3A(?:{_ENCODED}2F){{2}})([^\s\"'<>]*+)"
_QUERY_START = re.compile(rf"(?i){_ENCODED}3F|{_ENCODED}23|[?#]")
_PATH_START = re.compile(rf"(?i)({_ENCODED}2F|\Z)")
_LOGIN_END = re.compile(rf"(?i){_ENCODED}40|@")
_AUTH = r"(?i)\b(bearer|basic\b(?=\s[a-z0-9+/]{16}))(?:\s{1,8}|%(?:25){0,3}20|\+)[^\s\"',<>\\]++"
_LABEL = (
    r"authorization|(?:[a-z0-9]{1,40}[_-]){0,4}(?:[a-z0-9]{0,40}?"
    r"(?:access[_-]?key(?:[_-]?(?:id|secret))?|secret(?:[_-]?(?:access)?[_-]?key)?|token|password|passwd|passphrase"
    r"|credentials?|signature(?:provided)?|api[_-]?key(?:[_-]?id)?|private[_-]?key|auth[_-]?key)|sig|pwd)"
    r"|(?:api|access|secret)[ -]key(?: id| secret)?(?: provided)?"
    r"|awsaccesskeyid|googleaccessid|密码|密钥|口令|令牌|bearer"
    r"|x-(?:oss|amz|goog)-(?!request-id|id-2)[a-z-]{2,40}|(?:set-)?cookie"
)
_WORD = r"(?:(?<![a-z0-9])|(?<=%[0-9a-f]{2})|(?<=\\u00[0-9a-f]{2})|(?<=\\[nrt]))"  # where a label may begin
_EQUALS = rf"=|{_ENCODED}3D|\\u003d|&(?:\#61|\#x3d|equals);|\uff1d"
_LABELLED = (
    rf"(?i){_WORD}(?P<label>{_LABEL})(?P<quote>\\{{0,7}}[\"'])?"
    rf"(?P<mark>(?(quote)\s{{0,8}}[:=]\s{{0,8}}"
    rf"|(?:\s{{1,8}}=\s{{1,8}}|=\s{{1,8}}(?=[\"'\[(])|(?:{_EQUALS})|[:\uff1a]\s{{0,8}}|{_ENCODED}3A)))"
    r"(?P<within>[\[({]{0,2}[bfru]{0,2}(?=\\{0,7}[\"']))?"
    r"(?:(?P<open>\\{0,7}[\"'])(?P<inner>(?:(?!(?P=open))(?:\\.|[^\n])){0,4096}+)"
    r"|(?P<bare>[^\s\"'&,;<>(){}\\]{3,}+))"
)
_PAIR = (
    rf"(?i)(?P<start>[(\[]b?(?P<quote>[\"'])(?P<label>{_LABEL})(?P=quote),\s{{0,8}}b?(?P<open>[\"'])"
    r"(?:(?P=label)(?P=open),\s{0,8}b?(?P=open))?+)"
    r"(?!<)(?:(?!(?P=open))(?:\\.|[^\n])){1,4096}+"
)
# A label and its value as in templates, logs and forms: quotes, spaces and marks may be encoded or unusual.
_QUOTE = (
    rf"(?:\\{{0,7}}[\"'`]|{_ENCODED}2[27]|&(?:quot|apos|\#34|\#39|\#x2[27]);|\\u002[27]|\\x2[27]|[\u2018-\u201d]|\*\*)"
)
_GAP = rf"(?:\s|\\[nrt]|{_ENCODED}(?:20|0[ad])|\+)"
_SPELLED = (
    rf"(?i)(?P<start>{_WORD}(?:{_LABEL}){_QUOTE}{{0,3}}"
    rf"(?:{_GAP}{{0,8}}(?:[:=-]?>|:?=|[:\uff1a\uff1d]|\u2192|{_ENCODED}3[ad]|\\u003[ad]|&(?:\#58|colon|\#61|equals);)"
    rf"(?:\s{{1,4}}[>|][+-]?)?{_GAP}{{0,8}}"
    rf"|\s{{0,4}}[,(]\s{{0,4}}(?:{_QUOTE}(?:value|val){_QUOTE}\s{{0,4}}[:=]\s{{0,4}})?[bfru]?(?={_QUOTE})"
    rf"|(?P<prose>\s{{1,4}}(?:(?:is|was)\s{{1,4}})?)|(?=[{{(]))"
    rf"[{{(]?{_QUOTE}{{0,3}})(?P<value>(?:[a-z0-9+/=_.~*-]|%[0-9a-f]{{2}}){{6,}}+)"
)
_REVERSED = (
    rf"(?i)(?P<start>{_QUOTE}val(?:ue)?{_QUOTE}\s{{0,4}}:\s{{0,4}}{_QUOTE})(?P<value>[^\s\"'<>]{{1,4096}}+)"
    rf"(?={_QUOTE}\s{{0,4}},\s{{0,4}}{_QUOTE}(?:name|key){_QUOTE}\s{{0,4}}:\s{{0,4}}{_QUOTE}(?:{_LABEL}){_QUOTE})"
)
# Short labels that are words of ordinary texts, too: only values that mix letters and digits count.
_SHORT = (
    rf"(?i)(?P<start>{_WORD}(?:ak|sk|pass|secret|session[_-]?id){_QUOTE}{{0,3}}\s{{0,4}}(?:[:=]|{_ENCODED}3[ad])\s{{0,4}}{_QUOTE}{{0,3}})"
    r"(?P<value>[a-z0-9+/=_.~-]{8,}+)"
)
# A key that was broken into lines, or written as adjacent string literals.
_CONTINUED = (
    r"(?i)<key>(?:[\"']{0,1}(?:\s{0,4}\+\s{0,4}|\s{1,8}|\\n)[bfru]?[\"']|\s{0,4}(?:\n|\\n)[ \t]{0,8})"
    r"(?=[a-z_-]{0,80}+[0-9])(?=[0-9_-]{0,80}+[a-z])[a-z0-9+/=_-]{6,}+(?![:\w])"
)
_LOGIN = (
    r"(?<![\w@.%-])(?:(?P<slashes>//))?[\w.%-]{1,60}+:[^\s:@/\"'<>]{3,200}+@(?(slashes)(?=\w)|(?=[\w-]{1,60}+[.:]\w))"
)
_USER_OPTION = r"(?<![\w-])(-u|--(?:proxy-)?user)([ =])(?!<)[^\s:\"'<>]{1,100}+:[^\s\"'<>]{1,200}+"
_NUMBERS = r"\d{1,3}(?:,\s?\d{1,3}){63,}+"
_MIXED = re.compile(r"(?=[^0-9]{0,200}+[0-9])(?=[^A-Za-z]{0,200}+[A-Za-z]).{12,}+", re.DOTALL)
_IDENTIFIER = re.compile(r"[a-z]{1,30}(?:[_.-][a-z]{1,30}){0,6}")
_ELEMENT = rf"(?i)(<(?:{_LABEL})>)[^<]{{1,4096}}+"
_OPTION = (
    r"(?i)(?P<mark>(?<![a-z0-9-])--(?:[a-z0-9]{1,20}-){0,3}(?:key|secret|token|password)\s{1,4})"
    r"(?P<bare>[^\s\"'<-]\S{2,}+)"
)
# A header's value has spaces, commas and semicolons: it ends with its line, at a bracket, or with the enclosing text.
_HEADER = (
    rf"(?i){_WORD}((?:[a-z]{{1,20}}-){{0,3}}authorization|(?:set-)?cookie)(:[ \t]{{0,8}})(?!\w{{1,20}}\s{{0,2}}<key>)"
    r"(?:[^\r\n\\\"'<>(){}\[\]\s](?:[^\r\n\\\"'<>(){}\[\]]|(?<==)\"[^\"\r\n]{0,400}+\")*+)"
)
_NO_SECRETS = frozenset({"None", "null", "True", "true", "False", "false"})
_OF_PROSE = frozenset(": \uff1a")  # in a mark: what follows may be a sentence
_PLAIN = re.compile(r"[A-Za-z]?[a-z]{0,10}[.:!?]?|[A-Z_]{0,40}[.:!?]?|[0-9.,]{1,9}")  # a word of a sentence, or a name
_DASH = rf"(?:[-\u2010-\u2015\u2212\uff0d]|{_ENCODED}2[Dd]|\\u002[Dd]|\\x2[Dd]|&(?:#45|#[xX]2[dD]|hyphen);)"
_KEY = (
    rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})|(?<=\\u00[0-9A-Fa-f]{{2}})|(?<=\\[nrt]))"
    rf"(?:sk{_DASH}[A-Za-z0-9_*-]{{4,}}+(?:\.[A-Za-z0-9_*-]{{4,}}+)*+|[sS][kK]{_DASH}(?=[A-Za-z_-]{{0,80}}+[0-9])[A-Za-z0-9_*-]{{8,}}+"
    rf"|[sS][kK]_[A-Za-z0-9_]{{16,}}+|sk{_DASH}(?:[\"']|\s{{0,4}}(?:\n|\\n)\s{{0,8}})(?=[a-z]{{0,80}}+[A-Z0-9])[A-Za-z0-9_*-]{{6,}}+)"
    r"|(?<![A-Za-z0-9])(?:gh[pousr]_|hf_|lsv2_(?:pt|sk)_|AIza|llx-|xox[abprs]-|glpat-)[A-Za-z0-9_-]{16,}+"
)
_PEM = r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[^-]{1,20000}+"
_KEY_ID = r"(?<![A-Za-z0-9])(?:LTAI|AKIA|ASIA|STS\.|TMP\.)[A-Za-z0-9_-]{6,}+"  # ids of object stores' keys
_JWT = r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]++){1,4}"
_BYTES = r"(?<![A-Za-z0-9])b(?:'(?:[^'\\\n]|\\.){48,}+'?|\"(?:[^\"\\\n]|\\.){48,}+\"?)"
_BASE64 = rf"(?<![A-Za-z0-9+/_=-])(?:[A-Za-z0-9+/_-]|{_ENCODED}(?:2[BbFf]|3[Dd])){{200,}}+={{0,2}}"
_HEX = frozenset("0123456789abcdef")

Destination = Literal["model", "terminal", "csv", "markdown", "html"]
"""The destination of a text: a model, a terminal, a cell of a CSV file, a Markdown file or a web page."""

_BREAKS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters, direction marks, surrogates and zero-width characters. Emoji and some scripts need joiners.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f\ud800-\udfff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u2212")  # as Excel and LibreOffice take them
_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?")
_MARKDOWN = re.compile(r"[\\`*<>\[\]|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w{1,40};)")
# Leading spaces are removed too: Markdown takes a line indented by four as code.
_MARKDOWN_START = re.compile(r"(?m)^[ \t]*+(?:(?=[#+=-])|(\d{1,9})(?=[.)](?:\s|$)))")


def redact(text: str) -> str:
    """Replace keys, signed queries, user names in URLs and inline media by short placeholders; shorten a long text.

    Example:
        >>> redact("see https://host/a.mp4?Signature=abc, key sk-12345678")
        'see https://host/a.mp4?<query> key <key>'
    """
    if len(text) <= LONGEST:
        return _redacted(text)
    head = text[:_HEAD].rpartition(" ")[0] or text[:_HEAD]
    # The label of a secret at the beginning of the tail may be cut off, so its first words are not shown.
    tail = _redacted(text[-_TAIL:]).split(maxsplit=_CUT_WORDS)[_CUT_WORDS:]
    return f"{_redacted(head)} … [about {len(text) - len(head) - _TAIL:,} characters left out] …{''.join(tail)}"


def _redacted(text: str) -> str:
    for pattern, replacement in _replacements():
        text = pattern.sub(replacement, text)
    return text


@functools.cache
def _replacements() -> tuple[tuple[re.Pattern[str], _Replacement], ...]:
    """Compile what is replaced, in this order, and by what; on first use, since most programs show no such text."""
    rows: tuple[tuple[str, _Replacement], ...] = (
        (_DATA_URI, "<inline media>"),
        (_URL, _without_query),  # before the keys: their placeholders would end a query too early
        (_HALF_URL, _without_encoded_query),
        (_PEM, r"\1 <key> "),
        (_AUTH, r"\1 <key>"),
        (_HEADER, _without_header),
        (_KEY, "<key>"),
        (_KEY_ID, "<key id>"),
        (_JWT, "<key>"),
        (_LABELLED, _without_value),
        (_PAIR, r"\g<start><key>"),
        (_REVERSED, r"\g<start><key>"),
        (_SPELLED, _without_spelled),
        (_SHORT, _without_short),
        (_ELEMENT, r"\1<key>"),
        (_OPTION, _without_option),
        (_USER_OPTION, r"\1\2<user>"),
        (_LOGIN, r"\g<slashes><user>@"),
        (_CONTINUED, "<key>"),
        (_BYTES, _without_binary),
        (_NUMBERS, "<bytes>"),
        (_BASE64, _without_data),
    )
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rows)


def clean(text: str, to: Destination, *, one_line: bool = False) -> str:
    r"""Escape an untrusted text for its destination.

    Control characters, direction marks, zero-width characters and lone surrogates are written out: `\x1b`. Line breaks
    of all kinds become `\n`, or spaces with `one_line`. A CSV cell never begins a formula; in Markdown and HTML every
    character stands for itself.

    Example:
        >>> print(clean("3.45\u202fPM\x1b[31m\n.mov", "terminal", one_line=True))
        3.45 PM\x1b[31m .mov
        >>> clean("=1+1", "csv"), clean("<b>*a*", "markdown"), clean("<b>", "html")
        ("'=1+1", '\\<b\\>\\*a\\*', '&lt;b&gt;')
    """
    text = _BREAKS.sub("\n", text)
    if one_line:
        text = " ".join(text.split())
    text = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    match to:
        case "csv":
            return f"'{text}" if text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
        case "markdown":
            return _MARKDOWN_START.sub(r"\1\\", _MARKDOWN.sub(r"\\\g<0>", text))
        case "html":
            return html.escape(text)
        case "model" | "terminal":
            return text


def with_leaves(value: Any, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401  (a JSON value)
    """Return a value of mappings and lists with whatever `change` makes of its leaves and of its names.

    Example:
        >>> with_leaves({"a": ["b", 1]}, lambda one: one * 2)
        {'aa': ['bb', 2]}
    """
    match value:
        case dict():
            return {change(name): with_leaves(one, change) for name, one in value.items()}
        case list() | tuple():
            return [with_leaves(one, change) for one in value]
        case _:
            return change(value)


def _without_query(found: re.Match[str]) -> str:
    scheme, slashes, rest = re.split(r"((?:\\?/|\\u002[Ff]){2})", found[0], maxsplit=1)
    place = re.split(r"[?#]|;(?=[^;?#]{0,200}=)", rest, maxsplit=1)
    host, slash, path = re.split(r"(/|\\u002[Ff]|\Z)", place[0], maxsplit=1)
    if "@" in host:
        host = f"<user>@{host.rpartition('@')[2]}"
    query = "" if len(place) == 1 else "?<query>" if place[1] else rest[len(place[0])]
    return f"{scheme}{slashes}{host}{slash}{path}{query}"


def _without_encoded_query(found: re.Match[str]) -> str:
    place = _QUERY_START.split(found[2], maxsplit=1)
    host, slash, path = _PATH_START.split(place[0], maxsplit=1)
    login = _LOGIN_END.split(host)
    host = f"<user>%40{login[-1]}" if len(login) > 1 else host
    query = "" if len(place) == 1 else "?<query>" if place[1] else found[2][len(place[0]) :]
    return f"{found[1]}{host}{slash}{path}{query}"


def _without_value(found: re.Match[str]) -> str:
    label = f"{found['label']}{found['quote'] or ''}{found['mark']}{found['within'] or ''}"
    value = found["inner"] if found["open"] else found["bare"]
    if not value or value in _NO_SECRETS or value.startswith(("<", "*", "SecretStr")):
        return found[0]
    if not found["open"] and set(found["mark"]) & _OF_PROSE and _PLAIN.fullmatch(value):
        return found[0]  # a sentence continues
    return f"{label}{found['open'] or ''}<key>"


def _without_spelled(found: re.Match[str]) -> str:
    value = found["value"]
    if found["prose"] is not None:  # a sentence continues, unless this is no word
        return f"{found['start']}<key>" if _MIXED.fullmatch(value) else found[0]
    if (
        value in _NO_SECRETS
        or value.startswith(("*", "SecretStr"))
        or _PLAIN.fullmatch(value)
        or _IDENTIFIER.fullmatch(value)
    ):
        return found[0]
    return f"{found['start']}<key>"


def _without_short(found: re.Match[str]) -> str:
    value = found["value"]
    mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return f"{found['start']}<key>" if mixed else found[0]


def _without_header(found: re.Match[str]) -> str:
    space = " " if found[0].endswith(" ") else ""
    return f"{found[1]}{found[2]}<key>{space}"


def _without_option(found: re.Match[str]) -> str:
    return found[0] if _PLAIN.fullmatch(found["bare"]) else f"{found['mark']}<key>"


def _without_binary(found: re.Match[str]) -> str:
    return "<bytes>" if found[0].count("\\x") > 3 else found[0]  # noqa: PLR2004  (a few are text in other letters)


def _without_data(found: re.Match[str]) -> str:
    run = found[0]
    mixed = any(map(str.islower, run)) and any(map(str.isupper, run)) and any(map(str.isdigit, run))
    return "<data>" if mixed or set(run.lower()) <= _HEX else run
