"""`addresses` refuses what the service cannot fetch, without asking the network."""

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from qwen_omni.addresses import check_link, expiry_of, is_private_host
from qwen_omni.errors import DeliveryError, UnsupportedMediaError
from qwen_omni.media.source import video_site

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

OSS4 = "x-oss-date=20261123T110000Z&x-oss-expires="


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "a.localhost", "printer.local", "db.internal", "nas.lan", "x.home.arpa", "minio",
        "", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0",
        "255.255.255.255", "224.0.0.1", "192.0.2.1", "1.2.3.4.5", "99999999999", "0x", "08.1.1.1",
        "::1", "[::1]", "::", "fe80::1", "fe80::1%25eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2001:0:7f00:1::",
        "::ffff:0:127.0.0.1", "5f00::1", "3fff::1", "192.88.99.1", "168.63.129.16", "nas.home", "wiki.corp", "a.onion",
        "kubernetes.default.svc", "a:b.c", "①②⑦.⓪.⓪.①", "127。0。0。1", "\uff4cocalhost",
    ],
)  # fmt: skip
def test_private_hosts_in_any_spelling(host):
    """Loopback, private, link-local and unrouted hosts are recognised, however they are written."""
    assert is_private_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "example.com", "example.com.", "bucket.oss-cn-beijing.aliyuncs.com", "8.8.8.8", "134744072", "172.32.0.1",
        "2606:4700::1111", "::ffff:8.8.8.8", "localhost.example.com", "local.com", "1e100.net", "0xdeadbeef.io",
        "видео.рф", "v1.example.com", "svc.example.com",
    ],
)  # fmt: skip
def test_public_hosts(host):
    """Ordinary hosts and addresses pass, also those that only look odd."""
    assert not is_private_host(host)


@pytest.mark.parametrize(
    ("url", "expiry"),
    [
        pytest.param(
            "https://h.com/a?OSSAccessKeyId=x&Expires=1&Signature=y",
            datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
            id="oss-v1",
        ),
        pytest.param(
            "https://h.com/a?Expires=1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), id="bare-epoch"
        ),
        pytest.param(f"https://h.com/a?{OSS4}3600", NOW, id="oss-v4"),
        pytest.param(
            "https://h.com/a?X-Amz-Date=20261123T110000Z&X-Amz-Expires=60", NOW - timedelta(minutes=59), id="s3-v4"
        ),
        pytest.param(
            "https://h.com/a?X-Goog-Date=20261123T110000Z&X-Goog-Expires=7200", NOW + timedelta(hours=1), id="gcs"
        ),
        pytest.param("https://h.com/a?expires=3600", None, id="not-an-epoch"),
        pytest.param("https://h.com/a?Expires=never&Signature=y", None, id="not-a-number"),
        pytest.param("https://h.com/a?x-oss-date=yesterday&x-oss-expires=60", None, id="not-a-date"),
        pytest.param("https://h.com/a?Expires=9" + "9" * 30, None, id="beyond-time"),
        pytest.param(f"https://h.com/a?{OSS4}9" + "9" * 30, None, id="beyond-time-v4"),
        pytest.param("https://h.com/a", None, id="unsigned"),
    ],
)
def test_the_expiry_of_signed_links(url, expiry):
    """OSS V1 and V4, S3 V4 and Google Cloud Storage links tell when they end."""
    assert expiry_of(url) == expiry


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        pytest.param("http://127.0.0.1/a", DeliveryError, "public or signed URL", id="loopback"),
        pytest.param("http://[::ffff:10.0.0.1]:80/a", DeliveryError, "cannot be reached", id="mapped"),
        pytest.param("http://0x7f.1/a", DeliveryError, "cannot be reached", id="hexadecimal"),
        pytest.param("https://user:s3cret@h.com/a", DeliveryError, "user name", id="user"),
        pytest.param("https://@h.com/a", DeliveryError, "user name", id="empty-user"),
        pytest.param("https://h.com/a?Signature=s3cret&Expires=1", DeliveryError, "Sign it again", id="expired"),
        pytest.param(f"https://h.com/a?{OSS4}3600", DeliveryError, "12:00:00", id="now"),
        pytest.param("ftp://h.com/a", UnsupportedMediaError, "http, https or oss", id="ftp"),
        pytest.param("https:///a", UnsupportedMediaError, "no host", id="no-host"),
        pytest.param("https://h.com:port/a", UnsupportedMediaError, "cannot be read", id="port"),
        pytest.param("https://[h.com/a", UnsupportedMediaError, "cannot be read", id="bracket"),
        pytest.param("http://h.com\\@127.0.0.1/a", UnsupportedMediaError, "invalid characters", id="backslash"),
        pytest.param("http://127%2e0.0.1/a", UnsupportedMediaError, "percent", id="encoded-host"),
        pytest.param("http://127.0.0.1\u200b/a", UnsupportedMediaError, "invalid characters", id="no-width"),
        pytest.param("http://[v1.a]/a", UnsupportedMediaError, "invalid characters", id="future-address"),
        pytest.param("http://h.com/a b", UnsupportedMediaError, "percent-encoded", id="space"),
        pytest.param("http://h.com/a\nHost: x", UnsupportedMediaError, "invalid characters", id="line-break"),
        pytest.param("oss:///key", UnsupportedMediaError, "no host", id="oss-without-bucket"),
    ],
)
def test_links_that_the_service_cannot_follow(url, error, says):
    """The error tells the place, the reason and the next step, and no secret."""
    with pytest.raises(error, match=r"message 0 part 1: clip") as caught:
        check_link(url, name="message 0 part 1: clip", now=NOW)

    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allow_private"),
    [
        ("https://h.com/a.mp4?x=1#t=3", False),
        ("http://h.com:8080/a.mp4", False),
        ("oss://dashscope-instant/a/b.mp4", False),
        (f"https://h.com/a?{OSS4}3601", False),
        ("http://127.0.0.1:8000/a.mp4", True),
        ("http://minio/a.mp4", True),
    ],
)
def test_links_that_pass(url, allow_private):
    """Public links pass, and private ones where the service is private itself."""
    check_link(url, name="clip", now=NOW, allow_private=allow_private)


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "YouTube"),
        ("https://m.youtube.com/shorts/abc", "YouTube"),
        ("https://youtu.be/dQw4w9WgXcQ?si=track", "YouTube"),
        ("http://www.bilibili.com/video/BV1xx411c7mD?p=2", "Bilibili"),
        ("https://b23.tv/abc", "Bilibili"),
        ("https://vimeo.com/76979871", "Vimeo"),
        ("https://v.douyin.com/abc/", "Douyin"),
        ("https://www.tiktok.com/@a/video/7", "TikTok"),
        ("https://v.youku.com/v_show/id_XNA.html", "Youku"),
        ("https://x.com/a/status/1", "X"),
        ("https://v.qq.com/x/page/a.html", "Tencent Video"),
        ("HTTPS://WWW.YouTube.COM/watch?v=a", "YouTube"),
    ],
)
def test_pages_of_video_sites_are_named(url, site):
    """The service would download HTML; the error says how to get the video first."""
    assert video_site(url) == site
    with pytest.raises(UnsupportedMediaError, match=rf"is a web page of {site}, not a media file.*yt-dlp .*video\.mp4"):
        check_link(url, name="message 0 part 0", now=NOW)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.mp4", "https://cdn.bilibili.com/a.mp4?sig=x", "https://i.redd.it/a.jpg",
        "https://notyoutube.com/watch?v=a", "https://youtube.com.example.org/watch", "https://box.com/x",
        "https://pbs.twimg.com/media/a?format=jpg", "https://rr1---sn.googlevideo.com/videoplayback?id=1",
        "https://bucket.oss-cn-beijing.aliyuncs.com/youtube.com/a", "oss://youtube.com/a",
    ],
)  # fmt: skip
def test_files_are_no_pages(url):
    """Files, other hosts and what the sites themselves serve bytes from pass."""
    assert video_site(url) is None
    check_link(url, name="it", now=NOW)


def test_the_command_holds_the_video_and_nothing_that_signs():
    """What tracks or signs is left out, and a shell reads the address as one word."""
    with pytest.raises(UnsupportedMediaError, match=r"https://youtu\.be/abc-1_2$") as caught:
        check_link("https://www.youtube.com/watch?v=abc-1_2&si=SECRET", name="it", now=NOW)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(UnsupportedMediaError) as caught:
        check_link("https://vimeo.com/1';rm%20-rf%20~;'?token=SECRET", name="it", now=NOW)
    command = shlex.split(str(caught.value).partition("pass video.mp4: ")[2])
    assert command[-1] == "https://vimeo.com/1';rm%20-rf%20~;'"
    assert "SECRET" not in str(caught.value)
