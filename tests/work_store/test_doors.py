"""Long videos, captions, transcripts and uploads over both stores: run, killed, resumed, nothing billed twice."""

import collections
import json
from pathlib import Path

import pytest

from qwen_omni.standin.marked_media import make_video
from qwen_omni.work_store.store import digest
from tests.support.processes import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

IN_FLIGHT = 2
# Forks for every line it reads, so that the many runs do not pay for the imports each time.
RUNS = f"""
import json, os, sys, warnings
from pathlib import Path
from qwen_omni import OmniClient, Settings, SummaryOptions, TranscriptionOptions, VideoCaption, summarize, transcribe
from qwen_omni.structured.batch import Results, caption_many
from qwen_omni.work_store.buffered import BufferedStore
import psycopg, qwen_omni.work_store.postgres
import av

warnings.simplefilter("ignore")
now, finish = [""], BufferedStore.finish

def run(place, cache, url, secret, dies, media):
    door, left = dies[0], [dies[1]]

    def dying(self, *args, **kwargs):
        done = finish(self, *args, **kwargs)
        left[0] -= now[0] == door
        if now[0] == door and not left[0]:
            os._exit(9)
        return done

    BufferedStore.finish = dying
    server = place if place.startswith("postgresql") else None
    settings = Settings.load(api_key=secret, base_url=url, store=server, cache_dir=Path(cache), retry_wait=0.0)
    with OmniClient(settings) as client:
        now[0] = "long video"
        options = SummaryOptions(segment_seconds=10, single_call_seconds=0, detail="low", concurrency={IN_FLIGHT},
                                 overlap=0, checkpoint=place if server else Path(place).parent / "runs")
        segments = summarize(media[0], client=client, options=options).segments
        now[0] = "captions"
        with Results(place) as results:
            done = caption_many(media, VideoCaption, client=client, concurrency={IN_FLIGHT}, results=results)
            count = sum(one.value is not None for one in done)
        now[0] = "transcription"
        said = transcribe(media[0], client=client, options=TranscriptionOptions(poll_seconds=0.05))
    return segments, count, bool(said.sentences)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            print(json.dumps(run(*json.loads(line))), flush=True)
            status = 0
        except BaseException as error:
            print(json.dumps(f"{{type(error).__name__}}: {{error}}"), flush=True)
        os._exit(status)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9:
        print(json.dumps("killed"), flush=True)
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Three videos with sound; the first has two segments."""
    folder = tmp_path_factory.mktemp("films")
    return [str(make_video(folder / f"{n}.mp4", seconds=n, size=(128, 96), fps=2).path) for n in (20, 4, 5)]


@pytest.fixture(scope="module")
def runs():
    """A process that runs all doors in a fork, and returns what became of it."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with start(RUNS) as process:

        def run(*arguments):
            process.stdin.write(json.dumps(arguments) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run
        process.stdin.close()


def asked(standin):
    """Count what was billed, by what was asked."""
    return collections.Counter(digest(one.body["messages"]) for one in standin.requests)


KILLS = [("long video", 3), ("captions", 1), ("transcription", 1), ("transcription", 1)]
"""After how many stored steps of a door: cuts and notes; captions; the upload; the task."""


def test_killed_again_and_again_and_resumed_elsewhere(place, runs, standin, films, tmp_path):
    """What was stored is never asked, uploaded or submitted again, by whichever machine goes on."""

    def run(machine, dies=("", 0)):  # a file is of one machine
        cache = tmp_path / ("cache" if isinstance(place, Path) else machine)
        return runs(str(place), str(cache), standin.base_url, standin.api_key, dies, films)

    for machine, dies in enumerate(KILLS):
        assert run(f"m{machine}", dies) == "killed"
    assert run("last") == [2, 3, True]
    billed = asked(standin)
    assert billed.total() - len(billed) <= 2 * IN_FLIGHT  # of the first two, when they were killed
    assert standin.tasks.submitted == 1
    assert len([call for call in standin.stores.calls if call.operation == "post_form"]) == 1
    assert run("again") == [2, 3, True]
    assert asked(standin) == billed
    assert standin.tasks.submitted == 1


def test_a_server_that_is_not_there_is_one_line(runs, standin, films, tmp_path):
    """Through a door, before anything is asked, without the password."""
    place = "postgresql://me:s3cret@127.0.0.1:1/d"
    said = runs(place, str(tmp_path), standin.base_url, standin.api_key, ("", 0), films)
    assert said.startswith("StoreError: The checkpoint postgresql://")
    assert "(unreachable)" in said
    assert ("s3cret" in said, "\n" in said, standin.requests) == (False, False, [])
