"""Caption every video of a folder, with a price before and a limit on the money; export the rows as a table.

    python examples/core/archive.py [videos/] [--offline]

Every answer is stored in archive.db as it arrives: run it again to resume, or after adding files. The shell commands
`qwen-omni archive plan|run|export` do the same, also on several machines with one PostgreSQL database.
"""

from collections.abc import Sequence
from pathlib import Path

from _start import start
from qwen_omni import SpendLimit, VideoCaption
from qwen_omni.archive import Caption, export, plan, run


def main(paths: Sequence[Path]) -> None:
    """Plan, run, export."""
    folder, step = str(paths[0]), Caption(VideoCaption)
    expected = plan(folder, step, store="archive.db")
    print(f"{expected.files} files, {expected.to_ask} to ask, {expected.input_tokens:,} tokens")
    for row in run(folder, step, store="archive.db", spend_limit=SpendLimit(tokens=5_000_000)):
        print(f"{Path(row.uri).name}: {row.value['scene_description'] if row.status == 'ok' else row.error}")
    print(f"{export('archive.db', 'archive.csv', step='caption', overwrite=True)} rows in archive.csv")


if __name__ == "__main__":
    with start(__doc__, "folder") as paths:
        main(paths)
