"""Real files that nobody here made: taken and billed as estimated, or refused for a reason that was read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qwen_omni import ChatOptions, ChatRequest, OmniClient, Settings, estimate, prepare, user
from qwen_omni.errors import QwenOmniError
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.request.question import message_of
from qwen_omni.standin import Standin
from tests.support.real import PACKAGES, Package, chosen, fetched, kind_of, refused

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),  # Pillow warns of damaged tags
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OmniClient]:
    """A client of a stand-in."""
    with Standin() as standin:
        settings = Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0)
        with OmniClient(replace(settings, cache_dir=tmp_path_factory.mktemp("cache"))) as one:
            yield one


def _folder(package: Package) -> Path:
    folder = fetched(package)
    if folder is None:
        pytest.skip(f"{package.name} cannot be had here")
    return folder


@pytest.mark.parametrize("package", PACKAGES, ids=[one.name for one in PACKAGES])
def test_files_of_a_package(package: Package, client: OmniClient):
    """Each is billed as it was estimated, or refused as the table says."""
    folder, expected, wrong = _folder(package), refused(), []
    for path in chosen(folder):
        name = str(path.relative_to(folder))
        found, told = _tried(client, path), expected.get((package.name, name), "")
        if (kind_of(found) if found else "") != told:
            wrong.append(f"{package.name}\t{name}\t{kind_of(found) if found else ''}\t{found}")
    assert not wrong, "\n" + "\n".join(wrong)


def _tried(client: OmniClient, path: Path) -> str:
    """Prepare, estimate and send a file; return what is refused of it, or what differs."""
    try:
        request = ChatRequest(
            model=DEFAULT_MODEL,
            messages=(user(*message_of([path]).parts, "What is it?"),),
            options=ChatOptions(thinking=False, max_tokens=9),
        )
        told = estimate(request, settings=client.settings)
        with prepare(path):
            details = client.complete(request).usage.input_details
    except QwenOmniError as error:
        return f"{type(error).__name__}: {error}".replace(str(path), "it")
    kinds = ("image", "video", "audio")
    estimated = {kind: sum(getattr(one.tokens, kind) for one in told.media) for kind in kinds}
    billed = {kind: details.get(kind, 0) for kind in kinds}
    return "" if estimated == billed else f"estimated {estimated}, billed {billed}"


def test_there_are_many_of_them():
    """At least two hundred files of ten packages are tried."""
    folders = [folder for package in PACKAGES if (folder := fetched(package)) is not None]
    if len(folders) < len(PACKAGES):
        pytest.skip(f"only {len(folders)} of {len(PACKAGES)} packages can be had here")
    counts = [len(list(chosen(folder))) for folder in folders]
    assert sum(counts) >= 200
    assert sum(count > 0 for count in counts) >= 10
