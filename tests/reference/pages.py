"""The programs that write the pages of experiments/, loaded as they run there."""

import importlib.util
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def load_page(name, monkeypatch):
    """The program of that name; modules of experiments/ are loaded anew, whoever loaded others of their names."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    for path in EXPERIMENTS.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script
