"""A file of 500 MB goes out through either store with little memory, and arrives as it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.upload.conftest import KEYS, random_file, sha256

CHILD = """
import re, sys
from pathlib import Path
from qwen_omni import OssCredentials, OssSettings, Settings
from qwen_omni.client import make_carrier
from tests.upload.conftest import MODEL, ready

endpoint, base_url, secret, folder, film, route = sys.argv[1:]
oss = OssSettings(bucket="standin-media", endpoint=endpoint, region="cn-standin", prefix="ours",
                  credentials=OssCredentials.of("LTAIstandin00001", secret))
settings = Settings.load(api_key="sk-standin", base_url=base_url, oss=oss, cache_dir=Path(folder))
def peak():
    # not ru_maxrss, which a child takes over from its parent
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

idle = peak()
found = make_carrier(settings).carry(ready(Path(film)), route, model=MODEL, name="film")
print((peak() - idle) // 1024, found.upload.location)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak memory")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("route", ["oss", "temporary"])
def test_500_megabytes(standin, tmp_path, route):
    """At most 150 MB of memory above idle, and the same digest at the other end."""
    path = random_file(tmp_path / "film.mp4", 500 * 10**6)
    arguments = (standin.oss_endpoint, standin.base_url, KEYS["LTAIstandin00001"].secret, tmp_path / "c", path, route)

    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip

    grown, location = done.stdout.split()
    bucket = {"oss": "standin-media", "temporary": "dashscope-temporary"}[route]
    stored = standin.stores.objects.get(bucket, location.removeprefix("oss://"))
    sys.stderr.write(f"{route}: +{grown} MB\n")
    assert stored.sha256 == sha256(path)
    assert int(grown) <= 150
