"""The keeper removes what it was told of and nothing else, whatever a folder is called."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from xenpvaudio.testbed import keeper
keeper.KEEPER.keep(Path(sys.argv[1]))
keeper.KEEPER.keep(Path(sys.argv[2]))
keeper.KEEPER.remove(Path(sys.argv[2]))
"""


def test_a_line_break_in_a_name_costs_no_other_folder(tmp_path: Path) -> None:
    other, odd, mine = tmp_path / "a", tmp_path / "a\nb", tmp_path / "c"
    for folder in (other, odd, mine):
        folder.mkdir()
    subprocess.run([sys.executable, "-c", PROGRAM, odd, mine], check=True)
    end = time.monotonic() + 60
    while odd.exists():
        assert time.monotonic() < end, "the keeper has removed nothing"
        time.sleep(0.05)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
