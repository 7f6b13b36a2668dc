"""A driver of Ray in a process of its own, which a test may kill; its local cluster ends with it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.processes import lives

ROOT = Path(__file__).parents[2]
DRIVER = """
import json, os, sys, time
import ray
from qwen_omni.archive import Caption, Summarize
from qwen_omni.archive.ray import map_archive
from qwen_omni.errors import QwenOmniError
from qwen_omni.settings import Settings

job = json.loads(sys.argv[1])
asked = {"include_dashboard": False, "object_store_memory": 100 << 20}
if "machines" in job:
    from ray.cluster_utils import Cluster

    head, *others = ({"num_cpus": cpus, **asked} for cpus in job["machines"])
    cluster = Cluster(initialize_head=True, head_node_args={**head, "temp_dir": job["folder"]})
    for other in others:
        cluster.add_node(**other)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
else:
    ray.init(num_cpus=job["cpus"], log_to_driver=False, logging_level="ERROR", _temp_dir=job["folder"], **asked)
ray.data.DataContext.get_current().enable_progress_bars = False
settings = Settings.load(
    base_url=job["url"], api_key=job.get("driver_key"), retry_wait=0.05, media_root="/", needs_key=False
)
if "key_file" in job:
    def settings(path=job["key_file"], url=job["url"]):
        with open(path) as file:
            return Settings.load(api_key=file.read(), base_url=url, media_root="/")
step = Caption(job["schema"])
if "deadly" in job:
    class Deadly(Caption):
        def run(self, source, task, *, deadly=job["deadly"]):
            if task.uri.endswith(deadly):
                os.kill(os.getpid(), 9)
            return Caption.run(self, source, task)
    step = Deadly(job["schema"])
print(json.dumps("ready"), flush=True)
try:
    rows = map_archive(
        ray.data.from_items(job["rows"]), step, store=job["store"], settings=settings,
        **job.get("given", {}),
    )
    print(json.dumps({"shown": repr(rows)}), flush=True)
    for row in rows.iter_rows():
        print(json.dumps(row), flush=True)
except QwenOmniError as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
print(json.dumps("done"), flush=True)
ray.shutdown()
if "machines" in job:
    cluster.shutdown()
"""


class Driver:
    """A job on a local cluster of a few logical CPUs; `lines` are what it has printed."""

    def __init__(self, folder, *, key="", **job):
        # Sockets lie below it, so its path has to be short.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "DASHSCOPE_API_KEY": key,
            "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_EXPORT_API_WRITE": "1", "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip
        self.folder = Path(folder)
        self._log = (self.folder / "driver.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps({"folder": str(folder), **job})],
            cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self.lines = []

    def __iter__(self):
        for line in self.process.stdout:
            if line[0] in '{"':  # Ray prints, too
                self.lines.append(json.loads(line))
                yield self.lines[-1]

    def _processes(self):
        """Return what it has started, with their command lines."""
        found = {}
        for one in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(one.name)) == self.process.pid and lives(int(one.name)):
                    found[int(one.name)] = (one / "cmdline").read_bytes()
        return found

    def workers(self):
        """Return the processes of its workers that hold an archive."""
        return [pid for pid, command in self._processes().items() if b"ray::MapWorker" in command]

    def log(self):
        """Return what it wrote to its standard error."""
        return (self.folder / "driver.log").read_text(errors="replace")

    def close(self):
        """End everything that it started, and what that starts meanwhile."""
        while found := self._processes():
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.process.wait()
        self.process.stdout.close()
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
