"""Which proxy is used: never for loopback, as curl does elsewhere; what cannot be used says so, by its variable."""

import asyncio
import functools
import os
import pickle
import socket
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from qwen_omni import AsyncOmniClient, ChatRequest, ConfigurationError, OmniClient, OssSettings, Settings, errors, user
from qwen_omni.diagnostics import examine
from qwen_omni.standin import Standin
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Request, ask
from qwen_omni.transport.proxies import is_loopback, proxy_for
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.oss import OssStore
from qwen_omni.upload.temporary import ask_policy
from tests.support.asking import WAYS
from tests.support.rawserver import RawServer, answer
from tests.upload.conftest import BUCKET, KEYS, credentials

SERVICE = "https://dashscope.aliyuncs.com/compatible-mode/v1"
HELLO = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Say hello."),))


@pytest.fixture
def environment(monkeypatch):
    """Set proxy variables, and no others; on macOS and Windows, too, they alone decide."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("qwen_omni.transport.proxies.getproxies", urllib.request.getproxies_environment)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.255.3.4", "[::1]", "::1",
                                  "::ffff:127.0.0.1", "0.0.0.0", "[::]"])  # fmt: skip
def test_loopback_never_goes_through_a_proxy(environment, host):
    """Whatever the variables say, and whatever is wrong with them."""
    environment(HTTP_PROXY="http://proxy:1", HTTPS_PROXY="socks://x", ALL_PROXY="nonsense://", NO_PROXY="[bad")
    assert is_loopback(host)
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    assert proxy_for(f"http://{shown}:8000/v1") is proxy_for(f"https://{shown}/v1") is None


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "128.0.0.1", "::2"]
)
def test_other_hosts_are_not_loopback(host):
    """Names that look like it."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, SERVICE, None),
        ({"HTTPS_PROXY": "http://p:1"}, SERVICE, ("http://p:1", "HTTPS_PROXY")),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, SERVICE, ("http://p:1", "https_proxy")),
        ({"HTTP_PROXY": "http://p:1"}, SERVICE, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://10.0.0.7:8091/v1", ("http://p:1", "HTTP_PROXY")),
        ({"ALL_PROXY": "p:1"}, SERVICE, ("http://p:1", "ALL_PROXY")),
        ({"ALL_PROXY": "http://p:1", "https_proxy": ""}, SERVICE, ("http://p:1", "ALL_PROXY")),
        ({"HTTPS_PROXY": "  ", "ALL_PROXY": " http://p:1 "}, SERVICE, ("http://p:1", "ALL_PROXY")),
        ({"HTTPS_PROXY": "http://u:secret@p:1"}, SERVICE, ("http://p:1", "HTTPS_PROXY")),
        ({"HTTPS_PROXY": "http://[fe80::1]:3128"}, SERVICE, ("http://[fe80::1]:3128", "HTTPS_PROXY")),
    ],
)
def test_the_variables_decide(environment, variables, url, expected):
    """By scheme, then `ALL_PROXY`; a name in small letters wins, as in curl. Passwords are not shown."""
    environment(**variables)
    proxy = proxy_for(url)
    assert (proxy and (proxy.shown, proxy.variable)) == expected
    assert "secret" not in repr(proxy)


@pytest.mark.parametrize(
    ("exceptions", "url", "excluded"),
    [
        ("*", SERVICE, True), ("dashscope.aliyuncs.com", SERVICE, True), ("aliyuncs.com", SERVICE, True),
        (".aliyuncs.com", SERVICE, True), ("*.aliyuncs.com", SERVICE, True), ("ALIYUNCS.COM", SERVICE, True),
        ("yuncs.com", SERVICE, False), ("aliyuncs.com.evil", SERVICE, False), ("x,aliyuncs.com , y", SERVICE, True),
        ("aliyuncs.com:443", SERVICE, True), ("aliyuncs.com:8443", SERVICE, False),
        ("https://aliyuncs.com/", SERVICE, True),
        ("10.0.0.0/8", "http://10.1.2.3/v1", True), ("10.0.0.0/8", "http://11.1.2.3/v1", False),
        ("10.1.2.3", "http://10.1.2.3/v1", True), ("10.1.2.3:81", "http://10.1.2.3:81/v1", True),
        ("10.*", "http://10.1.2.3/v1", True), ("192.168.*", "http://10.1.2.3/v1", False),
        ("fd00::1", "http://[fd00::1]:9/v1", True), ("[fd00::1]", "http://[fd00:0::1]/v1", True),
        ("[fd00::1]:9", "http://[fd00::1]:9/v1", True), ("[fd00::1]:8", "http://[fd00::1]:9/v1", False),
        ("fd00::/16", "http://[fd00::1]/v1", True), ("[fd00::]/16", "http://[fd00::1]/v1", True),
        ("fd00::/16", "http://10.1.2.3/v1", False), ("<local>", "http://gpu/v1", True), ("<local>", SERVICE, False),
        ("a;aliyuncs.com", SERVICE, True), ("", SERVICE, False), (",,", SERVICE, False),
        ("localhost 127.0.0.1 aliyuncs.com", SERVICE, True), ("a,\taliyuncs.com\n", SERVICE, True),
        ("aliyuncs.com.", SERVICE, True), ("dashscope.aliyuncs.com.:443", SERVICE, True), (".", SERVICE, False),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/v1", True),
    ],
)  # fmt: skip
def test_exceptions_are_read_as_curl_reads_them(environment, exceptions, url, excluded):
    """Names with what is under them, addresses, networks, ports, wildcards."""
    environment(ALL_PROXY="http://p:1", NO_PROXY=exceptions)
    assert (proxy_for(url) is None) == excluded


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"all_proxy": "socks://127.0.0.1:9"}, r"all_proxy names a socks:// proxy.*socks5://"),
        ({"ALL_PROXY": "socks4://h:9"}, "ALL_PROXY names a socks4:// proxy"),
        ({"HTTPS_PROXY": "ftp://h:9"}, "HTTPS_PROXY names a ftp:// proxy"),
        ({"HTTPS_PROXY": "http://h:port"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": "http://"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": "http://h:99999"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": "http://a..b:1"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": f"http://{'h' * 64}:1"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": "http://b\u00e4r..:1"}, "HTTPS_PROXY does not hold a valid proxy address"),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "ok,[::1"}, r"no_proxy holds '\[::1'"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/99"}, "NO_PROXY holds '10.0.0.0/99'"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "host:port"}, "NO_PROXY holds 'host:port'"),
    ],
)
def test_what_cannot_be_used_is_named(environment, variables, words):
    """A typed error with the variable, when a client is made, and in every flow; the doctor tells the same."""
    environment(**variables)
    with pytest.raises(ConfigurationError, match=words):
        proxy_for(SERVICE)
    settings = Settings.load(api_key="sk-x", base_url=SERVICE)
    with pytest.raises(ConfigurationError, match=words):
        OmniClient(settings)
    with pytest.raises(ConfigurationError, match=words):
        run(ask(Request(method="GET", url="https://example.com/")), settings)
    with pytest.raises(ConfigurationError, match=words):
        OssStore(
            OssSettings(bucket="b", endpoint="https://oss-cn-beijing.aliyuncs.com", credentials=credentials()),
            retry=RetryPolicy(), timeout=1.0,
        )  # fmt: skip


async def test_an_asynchronous_client_names_it_too(environment):
    """At the first call: that is when its connection is made."""
    environment(all_proxy="socks://127.0.0.1:9")
    settings = Settings.load(api_key="sk-x", base_url=SERVICE)
    with pytest.raises(ConfigurationError, match="all_proxy"):
        await AsyncOmniClient(settings).complete(HELLO)
    with pytest.raises(ConfigurationError, match="all_proxy"):
        await arun(ask(Request(method="GET", url="https://example.com/")), settings)


@pytest.mark.parametrize(("package", "install"), [("socksio", r"httpx2\[socks\]"), ("socks", r"requests\[socks\]")])
def test_socks_without_its_package_says_what_to_install(environment, monkeypatch, package, install):
    """`ImportError` is no error of ours."""
    environment(ALL_PROXY="socks5://127.0.0.1:9")
    monkeypatch.setattr("qwen_omni.transport.proxies.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=f"ALL_PROXY.*pip install '{install}'"):
        proxy_for(SERVICE, package)


def test_requests_go_through_the_proxy(environment):
    """Chat and native routes of a host that is not loopback; the error names the proxy without its password."""
    with RawServer(answer(b"no", status="502 Bad Gateway")) as proxy:
        environment(HTTP_PROXY=f"http://me:secret-word@{proxy.host}")
        settings = Settings.load(api_key="sk-x", base_url="http://model.invalid/v1", max_retries=0, dialect="dashscope")
        with OmniClient(settings) as client, pytest.raises(errors.ServerError):
            client.complete(HELLO)
        assert run(ask(Request(method="GET", url="http://model.invalid/x")), settings).status == 502
        assert [head.split()[1] for head in proxy.requests] == [
            "http://model.invalid/v1/chat/completions", "http://model.invalid/x",
        ]  # fmt: skip
        assert all("Proxy-Authorization" in head or "proxy-authorization" in head for head in proxy.requests)
    environment(HTTP_PROXY="http://me:secret-word@127.0.0.1:9")
    with OmniClient(settings) as client, pytest.raises(errors.APIConnectionError) as caught:
        client.complete(HELLO)
    assert "through the proxy http://127.0.0.1:9 (HTTP_PROXY)" in str(caught.value)
    assert "secret-word" not in str(caught.value)


async def test_nothing_of_loopback_meets_the_proxy(environment, tmp_path):
    """Chat, both ways; policies; links; a bucket: each reaches the stand-in although a proxy is set for all."""
    with RawServer(answer(b"no", status="502 Bad Gateway")) as proxy, Standin(oss_keys=KEYS) as standin:
        environment(HTTP_PROXY=f"http://{proxy.host}", ALL_PROXY=f"http://{proxy.host}", NO_PROXY="[::1]")
        oss = OssSettings(
            bucket=BUCKET, endpoint=standin.oss_endpoint, region="cn-standin", credentials=credentials(), prefix="p"
        )
        settings = Settings.load(
            api_key=standin.api_key, base_url=standin.base_url, max_retries=0, oss=oss, cache_dir=tmp_path
        )
        with OmniClient(settings) as client:
            assert client.complete(HELLO).text
        async with AsyncOmniClient(settings) as aclient:
            assert (await aclient.complete(HELLO)).text
        policy = ask_policy(settings.base_url, HELLO.model, None, lambda: datetime.now(UTC).timestamp())
        assert run(policy, settings).host
        store = OssStore(oss, retry=RetryPolicy(max_retries=0), timeout=5.0)
        store.write("p/a.txt", b"a")
        url, _ = store.sign("p/a.txt")
        assert run(ask(Request(method="GET", url=url)), settings).body == b"a"
        assert (await arun(ask(Request(method="GET", url=url)), settings)).body == b"a"
        found = {finding.name: finding.text for finding in examine(settings)}
        assert found["proxy"] == "No proxy is used for this address."
        assert proxy.requests == []


def test_the_doctor_tells_the_proxy(environment):
    """Its address and its variable; no password."""
    environment(HTTPS_PROXY="http://me:secret-word@127.0.0.1:9")
    settings = Settings.load(api_key="sk-x", base_url=SERVICE, max_retries=0)
    found = {finding.name: finding for finding in examine(settings)}
    assert found["proxy"].text == "Requests go through http://127.0.0.1:9 (HTTPS_PROXY)."
    assert "secret-word" not in str(found)
    environment(HTTPS_PROXY="socks://x:1")
    found = {finding.name: finding for finding in examine(settings)}
    assert found["proxy"].verdict == "bad"


def no_name(*_: object, **__: object) -> None:
    """Answer as a machine does whose name server does not know a host."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def no_server(*_: object, **__: object) -> None:
    """Answer as a machine does whose name server does not answer."""
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def asked(*, waits: bool, public: bool) -> Callable[[Settings], object]:
    """Ask for a link, or as a native route does."""

    def go(settings: Settings) -> object:
        flow = ask(Request(method="GET", url="http://model.invalid/x", public=public))
        return asyncio.run(arun(flow, settings)) if waits else run(flow, settings)

    return go


def written(_: Settings) -> None:
    oss = OssSettings(bucket="bucket", endpoint="http://model.invalid", region="cn-x", credentials=credentials())
    OssStore(oss, retry=RetryPolicy(max_retries=0), timeout=1.0).write("p/a.txt", b"a")


DOORS: dict[str, Callable[[Settings], object]] = {
    **{name: functools.partial(way, request=HELLO) for name, way in WAYS.items()},
    "native route": asked(waits=False, public=False), "asynchronous native route": asked(waits=True, public=False),
    "link": asked(waits=False, public=True), "asynchronous link": asked(waits=True, public=True), "bucket": written,
}  # fmt: skip
"""The ways to the service, or to a link."""


def outcome(door: str, settings: Settings) -> errors.QwenOmniError:
    """Ask; return the error."""
    with pytest.raises(errors.QwenOmniError) as caught:
        DOORS[door](settings)
    return caught.value


@pytest.mark.parametrize("door", DOORS)
def test_a_name_that_is_not_found_is_the_machines(environment, monkeypatch, door):
    """Who was looked up, by which words it failed, and what to look at; also an `OSError` and a connection error."""
    environment()
    monkeypatch.setattr(socket, "getaddrinfo", no_server)
    settings = Settings.load(api_key="sk-x", base_url="http://model.invalid/v1", max_retries=0, dialect="dashscope")
    error = outcome(door, settings)
    assert isinstance(error, errors.LocalResourceError)
    assert isinstance(error, errors.APIConnectionError)
    assert (error.resource, error.retryable, error.sent) == ("dns", True, False)
    assert "model.invalid" in str(error)
    assert "Temporary failure in name resolution" in str(error)
    assert "name server (DNS)" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.resource) == (type(error), str(error), "dns")


def test_a_link_to_no_host_is_the_links_fault(environment, monkeypatch):
    """The name server answered: there is no such host."""
    environment()
    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    settings = Settings.load(api_key="sk-x", base_url="http://model.invalid/v1", max_retries=0)
    for door in ("link", "asynchronous link"):
        assert isinstance(outcome(door, settings), errors.DeliveryError)
    assert isinstance(outcome("complete", settings), errors.LocalResourceError)


@pytest.mark.parametrize("door", DOORS)
def test_a_proxy_that_does_not_answer_is_the_machines(environment, door):
    """The message names the proxy, its variable, what was to be reached, and the next step; no password."""
    environment(HTTP_PROXY="http://me:secret-word@127.0.0.1:9")
    settings = Settings.load(api_key="sk-x", base_url="http://model.invalid/v1", max_retries=0, dialect="dashscope")
    error = outcome(door, settings)
    assert isinstance(error, errors.LocalResourceError)
    assert isinstance(error, errors.APIConnectionError)
    assert error.resource == "proxy"
    assert "model.invalid through the proxy http://127.0.0.1:9 (HTTP_PROXY)" in str(error)
    assert "NO_PROXY" in str(error)
    assert "secret-word" not in f"{error!r} {error.__cause__} {error.__context__} {pickle.dumps(error)!r}"


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden"])
@pytest.mark.parametrize("door", ["complete", "acomplete", "native route", "asynchronous native route"])
def test_a_proxy_that_opens_no_tunnel_is_the_machines(environment, monkeypatch, door, status):
    """`CONNECT` is refused: the proxy's words are in the message."""
    with RawServer(answer(b"no", status=status)) as proxy:
        environment(HTTPS_PROXY=f"http://{proxy.host}")
        settings = Settings.load(api_key="sk-x", base_url="https://model.invalid/v1", max_retries=0)
        monkeypatch.setattr(f"{__name__}.Request", functools.partial(secured, Request))
        error = outcome(door, settings)
    assert isinstance(error, errors.LocalResourceError)
    assert error.resource == "proxy"
    assert status in str(error)


@pytest.mark.parametrize("door", ["complete", "acomplete", "native route", "asynchronous native route"])
def test_a_proxy_that_wants_a_password_is_the_machines(environment, door):
    """Without a tunnel its 407 comes where the server's answer would."""
    with RawServer(answer(b"<html>Log in</html>", status="407 Proxy Authentication Required")) as proxy:
        environment(HTTP_PROXY=f"http://me:secret-word@{proxy.host}")
        settings = Settings.load(api_key="sk-x", base_url="http://model.invalid/v1", max_retries=0, dialect="dashscope")
        error = outcome(door, settings)
    assert type(error) is errors.LocalNetworkError
    assert f"model.invalid through the proxy http://{proxy.host} (HTTP_PROXY): 407" in str(error)
    assert "secret-word" not in f"{error!r} {error.__cause__} {error.__context__} {pickle.dumps(error)!r}"


def secured(kind, *, url, **others):
    """Make a request over TLS."""
    return kind(url=url.replace("http:", "https:"), **others)
