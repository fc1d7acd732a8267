"""The fuzzers for longer runs work: each finds nothing in a short one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = ("fuzz_envelope.py", "fuzz_values.py")


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
@pytest.mark.parametrize("program", PROGRAMS)
def test_short_run(program: str, tmp_path: Path) -> None:
    arguments = [sys.executable, str(Path(__file__).with_name(program)), "-runs=500", "-seed=1"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Done 500 runs" in done.stderr
