"""The cassettes themselves: each is played, small, and says what it proves; none holds a key, an address or media."""

from pathlib import Path

import pytest

from tests.support import recording
from tests.support.replay import WHOLE_MODULES

CASSETTES = sorted(recording.ROOT.rglob("*.yaml"))
ANOTHER = "Something else."
LABEL = "proves: It works.\norigin: stand-in\nrecorded: 2026-11-29\nversion: 1\n"


def test_cassettes_mirror_the_tests(request: pytest.FixtureRequest) -> None:
    """Each cassette is played by a test of its module, and each test has its cassette.

    Of a module that was collected in part (`::`), only the folder is checked; deselecting tests (`-k`) changes nothing.
    """
    assert CASSETTES
    assert {path.suffix for path in recording.ROOT.rglob("*") if path.is_file()} == {".yaml", ".md"}
    assert not recording.misplaced(CASSETTES, request.config.stash[WHOLE_MODULES])


def test_cassettes_are_fit_to_be_read() -> None:
    """Every one is small, has a label, and holds no key, account, signed query, machine's address or media."""
    flaws = {str(path.relative_to(recording.ROOT)): recording.flaws(path) for path in CASSETTES}
    assert not {name: found for name, found in flaws.items() if found}


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("key: sk-12345678\n", "a key"),
        ("key: LTAI5tABCDEFGHIJ\n", "a key"),
        ("  Authorization: x\n", "an authorization header"),
        ("value: Bearer abc\n", "an authorization header"),
        ("url: https://h/a?Expires=1\n", "a signed query"),
        ("url: https://ws-abcdefgh12.cn-beijing.maas.aliyuncs.com\n", "an account"),
        ("arn: acs:ram::1234567890123456:user/x\n", "an account"),
        ("url: http://127.0.0.1:4000/x\n", "a machine's address"),
        (f"url: data:video/mp4;base64,{'A' * 80}\n", "inline media in a request"),
        ("x" * 100_001, f"{100_001 + len(LABEL):,} bytes"),
    ],
)
def test_flaws_are_found(text: str, flaw: str, tmp_path: Path) -> None:
    """Each thing that a cassette must not have is found by name."""
    (tmp_path / "a.yaml").write_text(LABEL + text)
    assert recording.flaws(tmp_path / "a.yaml") == [flaw]


@pytest.mark.parametrize(
    ("label", "flaw"),
    [
        (LABEL, None),
        ("version: 1\n", "no origin, or nothing that it proves"),
        (LABEL.replace("stand-in", "live"), "no origin, or nothing that it proves"),
        (LABEL.replace("It works.", "''"), "no origin, or nothing that it proves"),
        (LABEL.replace("stand-in", "documentation"), "no source of what is documented"),
        (LABEL.replace("stand-in", "documentation\nsource: A page"), None),
    ],
)
def test_labels(label: str, flaw: str | None, tmp_path: Path) -> None:
    """A cassette says what it proves, who answered, and where that is documented."""
    (tmp_path / "a.yaml").write_text(label)
    assert recording.flaws(tmp_path / "a.yaml") == ([flaw] if flaw else [])


def test_a_recording_is_labelled_by_who_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the service's only if there was a key, and the address is the service's."""
    assert recording.present_origin() == "stand-in"
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-12345678")
    assert recording.present_origin() == "service"
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1")
    assert recording.present_origin() == "service"
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "http://127.0.0.1:8000/v1")
    with pytest.raises(ValueError, match="is not the service"):
        recording.present_origin()
    path = tmp_path / "a.yaml"
    path.write_text("version: 1\ninteractions: []\n")
    assert recording.label_of(path) is None
    recording.put_label(path, "It works: always.", "stand-in")
    label = recording.label_of(path)
    assert label is not None
    assert (label.proves, label.origin) == ("It works: always.", "stand-in")
    assert recording.deserialize(path.read_text())["interactions"] == []


def test_misplaced_cassettes_are_found() -> None:
    """Cassettes without a test or a module, with another claim, and tests without a cassette; suites may have none."""
    here, nowhere = recording.ROOT / "contracts" / "recorded", recording.ROOT / "contracts" / "nothing"
    cassettes = [here / "text.yaml", here / "b.yaml", nowhere / "c.yaml"]
    lost = recording.misplaced(cassettes, {here: {"text": ANOTHER, "d": "It works.", "e": ""}})
    assert [text.partition(str(recording.ROOT) + "/contracts/")[2] for text in lost] == [
        "nothing: there is no test_nothing.py",
        "recorded/b.yaml: no test plays it",
        "recorded/d.yaml is missing: run `make record`",
        f"recorded/text.yaml does not say that it proves {ANOTHER!r}",
    ]


def test_sentences() -> None:
    """A docstring's first paragraph becomes one sentence of Markdown."""
    docstring = "Test to verify that\n    ``model.invoke`` [works](https://h).\n\n    More.\n    "
    assert recording.sentence_of(docstring) == "`model.invoke` works."
