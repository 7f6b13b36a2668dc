"""What `redact` takes out of a text, and that no text is long or odd enough to keep it busy."""

import base64
import inspect
import random
import re
import urllib.parse
from html import unescape

import markdown_it
import pytest
from hypothesis import example, given, strategies as st

from qwen_omni import QwenOmniError, redact as redacting
from qwen_omni.redact import LONGEST, clean, redact

MEDIA = base64.b64encode(bytes(range(256)) * 4).decode()
WRAPPED = "\n".join(MEDIA[at : at + 76] for at in range(0, len(MEDIA), 76))
SIGNED = (
    "https://bucket.oss-cn-beijing.aliyuncs.com/a.mp4?Expires=1&OSSAccessKeyId=LTAI5tSECRET00&Signature=SECRET99%3D"
)

SECRETS = {
    "a key": "sk-1SECRET2abc",
    "a workspace's key": "sk-ws-SECRET1.SECRET2.SECRET3",
    "a key behind a name": "api_key_sk-1SECRET2abc",
    "a percent-encoded key": "api%5Fkey=sk%2D1SECRET2abc",
    "a bearer": "Authorization: Bearer SECRET-1",
    "a bearer in a query": "authorization=Bearer%20SECRET-1",
    "a basic login": "Authorization: Basic U0VDUkVUOlNFQ1JFVA== SECRET"[:-7] + "xSECRET",
    "a key's id": "LTAI5tSECRET00",
    "a temporary id": "STS.NTSECRET00",
    "a secret in JSON": '{"AccessKeySecret": "SECRET"}',
    "a secret in JSON in JSON": r'{"body": "{\"AccessKeySecret\": \"SECRET\"}"}',
    "a secret in a repr": "{'access_key_secret': 'SECRET'}",
    "a secret in a header": "x-oss-security-token: CAIS/SECRET+abcdef",
    "a signature": "Signature=SECRET",
    "a field of a form": "token=SECRET&key=a",
    "a percent-encoded signature": "Signature%3DSECRET%26Expires",
    "a password": "password='SECRET SECRET'",
    "a cookie": "Cookie: session=SECRET123456",
    "a web token": "eyJhbGciOiJIUzI1NiJ9.SECRETeyJzdWIi.SECRETabc",
    "a signed link": SIGNED,
    "a fragment": "https://host/a.mp4#access_token=SECRET",
    "a login in a link": "https://me:SECRET@host/a.mp4",
    "a link of the service's store": "oss://bucket/a.mp4?token=SECRET",
    "a link in JSON": SIGNED.replace("/", r"\/"),
    "a link in a query": "https://host/go?to=" + urllib.parse.quote(SIGNED, safe=""),
    "an encoded link alone": urllib.parse.quote(SIGNED, safe=""),
    "an encoded login": urllib.parse.quote("https://me:SECRET@host/a.mp4?b=SECRET", safe=""),
    "bytes": repr(f'{{"Signature": "SECRET", "api_key": "{"SECRET"}"}}'.encode()),
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_no_spelling_of_a_secret_is_left(text):
    shown = redact(f"It failed: {text} (status 400).")
    assert "SECRET" not in shown.replace("AccessKeySecret", "")
    assert shown.startswith("It failed: ")
    assert shown.endswith(" (status 400).") or "400" not in shown
    assert redact(shown) == shown


OTHER_SPELLINGS = [
    "https://b.oss-cn.aliyuncs.com/a?x-oss-signature-version=OSS4&x-oss-credential=LTAI5tX%2Fcn&x-oss-signature=SECRETabcd",
    "authorization: OSS4-HMAC-SHA256 Credential=LTAI5tSECRET0/cn,Signature=SECRETdeadbeef0123456789",
    "Authorization: OSS LTAI5tSECRET00:SECRETabc/def+ghi=",
    "{'authorization': 'OSS LTAI5tSECRET00:SECRETabc/def='}",
    "[(b'authorization', b'Bearer SECRETabcdef'), (b'host', b'x')]",
    "[(b'x-oss-security-token', b'CAISSECRET')]",
    "[('authorization', 'Bearer SECRETabcdef'), ('x', 'y')]",
    "[('x-oss-security-token', 'CAISSECRETabc'), ('x', 'y')]",
    "('api_key', 'SECRETvalue12')",
    "Headers({'api-key': 'SECRETabc123', 'authorization': '[secure]'})",
    "OpenAI(api_key='SECRETabc', base_url='x')",
    "api_key = 'SECRETabc'",
    "api_key:SECRETabc",
    "api_key: SECRETabc123456",
    "password: SECRETab",
    "DASHSCOPE_API_KEY=SECRETabc",
    "export OSS_ACCESS_KEY_SECRET=SECRETabc",
    "OSS_SESSION_TOKEN=SECRETabc",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET: SECRETabcdefghi",
    "{'accessKeySecret': 'SECRET'}",
    '{"SecurityToken":"SECRETabc"}',
    '{"accessKeyId":"SECRETid","secretAccessKey":"SECRETabc"}',
    '{"apiKey":"SECRETabc"}',
    "clientSecret=SECRETabc",
    "refreshToken: 'SECRETabc'",
    '{"privateKey": "SECRETabc"}',
    "-----BEGIN PRIVATE KEY-----\nSECRETMIIEvQIBADANBgkq\nSECREThkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----",
    "x-api-key: SECRETabc123",
    "X-DashScope-Authorization: SECRETabcdefgh",
    "X-DashScope-ApiKey: SECRETabcdef",
    "STS.NUSECRETabc",
    '{"SecurityToken": "CAISSECRET/abc+def=="}',
    '{"x_oss_object_acl":"private","x_oss_security_token":"SECRETabc"}',
    "https://h/go?to=https%253A%252F%252Fb.oss-cn.aliyuncs.com%252Fa%253FSignature%253DSECRET%2526x%253D1",
    "https%253A%252F%252Fb.oss-cn.aliyuncs.com%252Fa%253FSignature%253DSECRET%2526x%253D1",
    "https%25253A%25252F%25252Fb%25252Fa%25253FSignature%25253DSECRET%252526x%25253D1",
    "https://b.oss/a.mp4?Expires=1&amp;Signature=SECRET&amp;OSSAccessKeyId=SECRET",
    "https:\\u002F\\u002Fb.oss\\u002Fa?x=1\\u0026Signature=SECRETab",
    "a?Expires=1\\u0026Signature=SECRETab\\u0026x",
    "Signature\\u003dSECRETabc",
    "Signature&#61;SECRETabc",
    "b.oss-cn-beijing.aliyuncs.com/a.mp4?Expires=1&OSSAccessKeyId=LTAI5tSECRET&Signature=SECRET",
    "/a.mp4?Expires=1&Signature=SECRET HTTP/1.1",
    "URL('https://me:SECRET@b.oss/a?x=SECRET')",
    "b'https://me:SECRET@b.oss/a?x=SECRET'",
    "target=b'/a.mp4?Expires=1&Signature=SECRETab&x'",
    "https://SECRETtoken@host/a",
    "https://h/a?x=1 &Signature=SECRETabc",
    "https://h/a?x=1\n&Signature=SECRETabc",
    "<https://h/a?Signature=SECRET>",
    "[a](https://h/a?Signature=SECRET)",
    "    api_key = 'SECRETabc'\n",
    "ak=SECRETab12, sk=SECRETcd34ef",
    "{'ak': 'SECRETab12', 'sk': \"SECRETcd34ef\"}",
    "pass=SECRETab12",
    "secret: SECRETab12",
    "session_id=SECRETab12",
    "SessionId%3DSECRETab12",
    "authorization: bearer SECRETabc",
    "b'Authorization': b'Bearer SECRETabc'",
    "Authorization: Bearer\n SECRETabc1234",
    "Authorization:\tBearer\tSECRETabc",
    "Authorization: Token SECRETabcdefg",
    "Authorization: ApiKey SECRETabcdefg",
    'Authorization: Digest username="SECRETuser", response="SECRETabc"',
    "Authorization: AWS4-HMAC-SHA256 Credential=AKIASECRETABC/us, SignedHeaders=host, Signature=SECRETabc",
    "Authorization: SECRETabcdefg",
    "'Authorization': 'SECRETabcdefg'",
    "Authorization: Basic SECRETab",
    "Set-Cookie: a=SECRETabc; Path=/; b=SECRETdef",
    "Cookie: a=SECRETabc; session=SECRETdef",
    "sk\u2011SECRETabcdef",
    "Incorrect API key provided: SECRETabcdefgh1234.",
    "Invalid API-key provided: 'SECRETabcdefgh'",
    "https://h/sk-SECRETabcdef/a",
    "a?Expires=1;Signature=SECRETabc;",
    "ossaccesskeyid=LTAISECRETabcdef&signature=SECRETab",
    "https%3A//b/a%3Fsecurity-token%3DSECRETabc",
    "security-token=CAISSECRET",
    "x-oss-security-token%3DCAISSECRET",
    "X-Amz-Security-Token=SECRETabc&X-Amz-Credential=SECRETabc",
    "https://acct.blob.core.windows.net/c/a?sv=1&sig=SECRETabc%3D",
    "sv=2020&se=2026&sig=SECRETabcdef",
    "AIzaSySECRETabcdefghijklmnopqrstuvwxyz0",
    "hf_SECRETabcdefghijklmnopqrstuvwx",
    "ghp_SECRETabcdefghijklmnopqrstuvwxyz12",
    "lsv2_pt_SECRETabcdef0123456789abcdef_0123456789",
    "access_key_secret=SecretStr('**********') security_token='SECRETabc'",
    '{\\"api_key\\":\\"SECRETabc\\"}',
    '{\\\\\\"api_key\\\\\\":\\\\\\"SECRETabc\\\\\\"}',
    "api_key=['SECRETabc']",
    "{'authorization': ['Bearer SECRETabc']}",
    "{'x-api-key': ['SECRETabc']}",
    '{"api_key": ["SECRETabc"]}',
    "{'api_key': b'SECRETabc'}",
    "{b'api_key': b'SECRETabc'}",
    "api_key=f'SECRETabc'",
    "<AccessKeySecret>SECRETabc</AccessKeySecret>",
    "<SecurityToken>CAISSECRET</SecurityToken>",
    "<OSSAccessKeyId>LTAI5tSECRETxyz</OSSAccessKeyId><StringToSign>PUT\nx</StringToSign>",
    "<SignatureProvided>SECRETabc=</SignatureProvided>",
    'access_key_secret = "SECRETabc"',
    "secret=SECRETabc",
    "--api-key SECRETabcdef",
    "--api-key=SECRETabcdef",
    "curl -H 'Authorization: Bearer SECRETabc' -u user:x",
    "send: b'POST /x HTTP/1.1\\r\\nHost: a\\r\\nAuthorization: Bearer SECRETabc\\r\\n'",
    "send: b'PUT /x HTTP/1.1\\r\\nAuthorization: OSS LTAI5tX:SECRETabc=\\r\\nx-oss-security-token: SECRETtok\\r\\n'",
    'https://b.oss.com:443 "PUT /a?Signature=SECRETabc HTTP/1.1" 200 0',
    "api_key\uff1dSECRETabc",
    "API_KEY=SECRETabc",
    "API key: SECRETabcdefgh",
    "Access Key Secret: SECRETabcdefgh",
    "pwd=SECRETabc",
    "passphrase='SECRETabc'",
    "auth_key=SECRETabc-0-0",
    "https://cdn/a.mp4?auth_key=1-0-0-SECRETab",
    "sk%252DSECRETabcdef1",
    "to=%20sk-SECRETabcdef",
    "sk\\u002dSECRETabcdef",
    "sk\\x2dSECRETabcdef",
    "sk&#45;SECRETabcdef",
    "SK-SECRETabcdef1",
    "Sk-SECRETabcdef1",
    'sk-"SECRETabc"',
    "sk-\nSECRETabcdef01",
    "api_key=SECRETab\nSECRETcd0123",
    "'sk-SECRETab' 'SECRETcd12345'",
    "'sk-SECRETab' + 'SECRETcd12345'",
    '"sk-SECRETab"\n"SECRETcd12345"',
    "AccessKeySecret : SECRETabc1",
    "AccessKeySecret => SECRETabc1",
    "AccessKeySecret -> SECRETabc1",
    "AccessKeySecret is SECRETabc1DEF2",
    "set DASHSCOPE_API_KEY SECRETabc1DEF2",
    "api_key : 'SECRETabc1'",
    "token : SECRETabc1",
    "api_key: >-\n  SECRETabc1",
    'api_key="""SECRETabc1"""',
    "api_key:\\nSECRETabc1",
    "api_key={SECRETabc1}",
    "set_api_key('SECRETabc1')",
    "set_api_key(SECRETabc1)",
    "['x-api-key', 'SECRETabc1']",
    "[b'x-api-key', b'SECRETabc1']",
    "[(b'X-Api-Key', b'x-api-key', b'SECRETabc1')]",
    "('Bearer', 'SECRETabc1')",
    "{'name': 'api_key', 'value': 'SECRETabc1'}",
    '{"name":"x-oss-security-token","value":"SECRETabc1"}',
    '{"value":"SECRETabc1","name":"api_key"}',
    "%22api_key%22%3A%20%22SECRETabc1%22",
    "&quot;api_key&quot;: &quot;SECRETabc1&quot;",
    "&#39;api_key&#39;: &#39;SECRETabc1&#39;",
    "\\u0022api_key\\u0022: \\u0022SECRETabc1\\u0022",
    '"api_key"\\u003a"SECRETabc1"',
    "b'api_key=\\x27SECRETabc1'",
    "`api_key`: `SECRETabc1`",
    "**api_key**: SECRETabc1",
    "Bearer%2520SECRETabc1",
    "令牌\uff1aSECRETabc1",
    "curl -u user:SECRETabc1 https://h",
    "//user:SECRETabc1@h/p",
    "user:SECRETabc1@proxy:3128",
    "https://h/a;jwt=SECRETabc1",
]
"""As programs, servers, logs and programs' reprs write them."""


@pytest.mark.parametrize("text", OTHER_SPELLINGS)
def test_no_other_spelling_is_left(text):
    shown = redact(f"It failed: {text} (status 400).")
    assert "SECRET" not in re.sub("ACCESS_KEY_SECRET", "", shown)
    assert shown.startswith("It failed: ")
    assert redact(shown) == shown


INLINE = {
    "base64": f"data:video/mp4;base64,{MEDIA}",
    "in lines": f"data:video/mp4;base64,{WRAPPED}",
    "in lines of a repr": f"data:video/mp4;base64,{MEDIA[:76]}\\n{MEDIA[76:]}",
    "URL-safe": f"data:image/png;base64,{MEDIA.replace('+', '-').replace('/', '_')}",
    "percent-encoded": urllib.parse.quote(f"data:image/png;base64,{MEDIA}", safe=""),
    "with parameters": f'data:video/mp4;codecs="avc1";name=a;base64, {MEDIA}',
    "in capitals": f"DATA:video/mp4;BASE64,{MEDIA}",
    "without a head": MEDIA,
    "bytes": repr(b"\xff\xd8\xff\xe0" * 40),
    "encoded twice": urllib.parse.quote(urllib.parse.quote(f"data:image/png;base64,{MEDIA}", safe=""), safe=""),
    "cut in its head": f"o/mp4;base64,{MEDIA[:150]}",
    "cut before its head": f"base64,{MEDIA[:150]}",
    "cut at its end": f"data:video/mp4;base64,{MEDIA[:30]}",
    "cut at both ends, encoded": urllib.parse.quote(MEDIA[100:400], safe=""),
    "cut at both ends, encoded twice": urllib.parse.quote(urllib.parse.quote(MEDIA[:400], safe=""), safe=""),
    "without base64": "data:image/svg+xml," + "%41%42" * 100,
    "in hexadecimal": bytes(range(256)).hex(),
    "in numbers": ", ".join(map(str, range(256))),
}


@pytest.mark.parametrize("text", INLINE.values(), ids=INLINE)
def test_media_become_a_mark(text):
    shown = redact(f"It failed: {text}.")
    assert len(shown) < 60
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 1,234 in, 56 out; the token limit is 5",
        "No API key. Set the environment variable DASHSCOPE_API_KEY or pass api_key=.",
        "Pass a call's api_key= as a SecretStr: options of a call appear in traces.",
        "a basic setup of task-force and risk-based parts",
        "https://host.example.com:8443/a/b.mp4 gives 404",
        "x-oss-request-id: 5F7E00112233445566778899",
        "/home/me/Videos/holiday 2026/a_b-c.mp4 is damaged",
        "api_key=SecretStr('**********')",
        "prompt_token: 1234; the API key: see the docs; password: required. signature: invalid",
        "known here: 'api_key', 'region'; pass --api-key KEY or set DASHSCOPE_API_KEY",
        "the secret = what it says",
        "the token limit is 5; the signature version 4; tokens: (1,234, 567)",
        "see https://h/a; then https://h/b: at 12:30@home, user:pass",
        "risk-based, ask_for, SK-II",
        "pass: 1 of 2; secret: nothing at all; sk: slovensky; session_id: 20261128; bypass=frame_0001.png",
        "max_tokens=100, 'api_key', 'base_url'; token (of a call), signature -> invalid",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "",
    ],
)
def test_what_helps_to_find_a_mistake_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize("length", [10_000, 100_000, 1_000_000])
@pytest.mark.parametrize(
    "unit",
    [
        "http://",
        "a.",
        "data:;a",
        "sk-",
        "bearer ",
        'token="',
        "x-oss-",
        "b'\\",
        "a@",
        " ",
        "base64,",
        "token ",
        "token%22",
        "<key> ",
        "1,",
        "%25",
        "a:b@",
        "sk-\n",
        "%2F",
    ],
)
def test_patterns_see_a_bounded_text(monkeypatch, unit, length):
    """The work of a pattern grows with what it sees, and that is the same from 20 kB on."""
    seen = []
    for name, pattern in vars(redacting_module()).copy().items():
        if isinstance(pattern, re.Pattern):
            monkeypatch.setattr(redacting_module(), name, Counting(pattern, seen))
    counting = tuple((Counting(pattern, seen), by) for pattern, by in redacting_module()._replacements())
    monkeypatch.setattr(redacting_module(), "_replacements", lambda: counting)
    redact(unit * (length // len(unit)))
    assert len(seen) >= 10
    assert max(seen) <= LONGEST


def redacting_module():
    return inspect.getmodule(redacting)


class Counting:
    """A pattern that notes how much it is given."""

    def __init__(self, pattern, seen):
        self._pattern, self._seen = pattern, seen

    def sub(self, by, text):
        """Replace, and note the length."""
        self._seen.append(len(text))
        return self._pattern.sub(by, text)


def test_repeats_without_an_end_do_not_go_back():
    """A repeat that may be given up character by character makes work quadratic; ours are possessive or bounded."""
    for name, pattern in vars(redacting_module()).items():
        if isinstance(pattern, re.Pattern):
            loose = list(unbounded(re._parser.parse(pattern.pattern, pattern.flags)))
            assert loose == [], name


def unbounded(tree):
    """Find repeats that have no end and are not possessive."""
    for kind, value in tree:
        if str(kind) in ("MAX_REPEAT", "MIN_REPEAT") and value[1] == re._constants.MAXREPEAT:
            yield kind, value
        for part in value if isinstance(value, (tuple, list)) else ():
            if isinstance(part, re._parser.SubPattern):
                yield from unbounded(part)
            elif isinstance(part, list):
                for branch in part:
                    if isinstance(branch, re._parser.SubPattern):
                        yield from unbounded(branch)


def test_the_search_for_loose_repeats_finds_them():
    assert list(unbounded(re._parser.parse(r"(a|b+)c")))
    assert list(unbounded(re._parser.parse(r"(?:x(a*?))?")))
    assert not list(unbounded(re._parser.parse(r"(a|b++)c{0,5}")))


def test_a_long_text_says_how_much_is_left_out():
    shown = redact("begin " + "x " * 50_000 + "end")
    head, tail = re.split(r" … \[about 81,01\d characters left out\] …", shown)
    assert (head[:7], tail[-5:]) == ("begin x", "x end")
    assert len(head) > 10_000
    assert len(tail) > 3_000
    assert len(shown) <= LONGEST


@given(st.integers(0, 2_000), st.integers(1, 400))
@example(0, 1)
def test_a_cut_leaves_no_half_secret(before, size):
    """Wherever the cut falls, no part of a secret is shown, since its label is no longer beside it."""
    chance = random.Random(before * 1_000 + size)
    one = chance.choice(['{"AccessKeySecret" : "%s"}', "Authorization: Bearer %s", "token: %s", "https://host/a?x=%s"])
    secret = "Zq9" * 20
    text = "a" * before + " " + (one % secret + " ") * (30_000 // len(one % secret) + size)
    assert "Zq9" not in redact(text)


def test_an_error_holds_a_bounded_message():
    error = QwenOmniError("The service says: " + "https://" * 1_000_000)
    assert len(str(error)) < LONGEST
    assert "characters left out" in str(error)


HOSTILE = {
    "half a character": ("a\ud83db", r"a\ud83db"),
    "bytes of no text": ("a\udcffb", r"a\udcffb"),
    "escape": ("a\x1b[31mb", r"a\x1b[31mb"),
    "title of a terminal": ("a\x1b]0;x\x07b", r"a\x1b]0;x\x07b"),
    "C1 control": ("a\x9b31mb", r"a\x9b31mb"),
    "backspace": ("a\x08b", r"a\x08b"),
    "turned around": ("a\u202egpj.exe", r"a\u202egpj.exe"),
    "isolate": ("a\u2066b\u2069", r"a\u2066b\u2069"),
    "zero width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "joiner": ("a\u200db", r"a\u200db"),
    "tags": ("a\U000e0041b", r"a\U000e0041b"),
    "null": ("a\0b", r"a\x00b"),
}


@pytest.mark.parametrize("to", ["model", "terminal", "csv", "markdown", "html"])
@pytest.mark.parametrize(("text", "right"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_obeyed_unseen_is_written_out(text, right, to):
    shown = clean(text, to)
    assert shown.replace("\\\\", "\\").replace(r"\[", "[").replace(r"\]", "]") == right
    assert shown.encode()
    assert shown.isprintable()


@pytest.mark.parametrize(
    "text", ["👩\u200d🚀.mp4", "\u0645\u06cc\u200c\u062e\u0648", "日本\u3000語", "naïve café", "❤\ufe0f"]
)
def test_letters_of_all_scripts_stay(text):
    assert clean(text, "model") == text


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_line_breaks_are_of_one_kind(end):
    assert clean(f"a{end}b", "model") == "a\nb"
    assert clean(f"a{end}{end} b", "csv", one_line=True) == "a b"


@pytest.mark.parametrize("lead", [*"=+-@\uff1d\uff0b\uff0d\uff20", " =", "\t=", "\r=", "\n="])
def test_no_cell_begins_as_a_formula(lead):
    assert clean(f"{lead}cmd|' /C calc'!A0", "csv").startswith("'")


@pytest.mark.parametrize("number", ["-5", "+3.25", "7"])
def test_numbers_stay_numbers_in_a_cell(number):
    assert clean(number, "csv") == number


@pytest.mark.parametrize(
    "text",
    [
        "![a](https://evil/x.png)", "[a](javascript:alert(1))", "<script>", "`a`", "**a** _b_ ~~c~~", "a|b", "&lt;",
        "# a", "- a", "+ a", "1. a", "2) a", "a\n    1. b", "7-a", "> a", "===", "a\\*b",
        "<https://evil>", "| a |\n|---|",
    ],
)  # fmt: skip
def test_markdown_shows_the_characters_themselves(text):
    """Read back by a renderer of its own, the text is one paragraph of plain text."""
    html = markdown_it.MarkdownIt("commonmark").enable("table").render(clean(text, "markdown"))
    paragraph = re.fullmatch(r"<p>([^<]*)</p>\n", html)
    assert paragraph, html
    assert unescape(paragraph[1]) == re.sub(r"\n +", "\n", text)


@pytest.mark.parametrize("text", ["a_b_c.mp4", "5 - 3 = 2", "a & b", "see 1.5 s."])
def test_plain_words_stay_readable_in_markdown(text):
    assert clean(text, "markdown") == text


@given(st.text(max_size=200))
def test_any_text_is_redacted_once(text):
    assert redact(redact(text)) == redact(text)


@given(st.text(st.characters(exclude_categories=[]), max_size=60))
def test_a_cleaned_text_can_be_written_anywhere(text):
    for to in ("model", "terminal", "csv", "markdown", "html"):
        shown = clean(text, to, one_line=True)
        assert len(shown.encode().splitlines()) <= 1
        assert clean(shown, "model", one_line=True) == shown.strip()


def test_an_error_shows_nothing_that_a_terminal_obeys():
    error = QwenOmniError("a\x1b]0;x\x07\ud83d cannot be read").with_hint("\u202e")
    assert str(error) == "a\\x1b]0;x\\x07\\ud83d cannot be read \\u202e"
