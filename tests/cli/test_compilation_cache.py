"""Compiled programs are kept for the next call: where, for whom, how much, and with the same results."""

import json
import os
import subprocess
import sys
from pathlib import Path

from lameta_jax.cli.compilation_cache import SUBFOLDER, cache_folder, entries, processors, prune, switch_on

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-network.yaml"
ARGUMENTS = ["evaluate", "--network", str(EXAMPLE), "--chain", "search-1,writer-7b,artist-1", "--json"]
# `lameta`, then on standard error how often jax wanted a program, found it, and kept it. The listener needs jax, which
# reads when it is imported where programs are kept; so the command must not be the first to say it.
LISTENING = """
import collections, json, sys
from lameta_jax.cli import compilation_cache, main
compilation_cache.switch_on()
from jax import monitoring
events = collections.Counter()
monitoring.register_event_listener(lambda event, **_: events.update([event.rpartition("/")[2]]))
code = main()
print(json.dumps(events), file=sys.stderr)
sys.exit(code)
"""


def start(*command, **environment):
    """A program in an environment without settings of caches but those given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("LAMETA_CACHE_DIR", "XDG_CACHE_HOME") and not name.startswith("JAX_")
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *command], stdout=pipe, stderr=pipe, text=True, env=kept | environment
    )


def finish(process):
    """What it said on standard output and on standard error."""
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def files(folder):
    return {entry.path: Path(entry.path).read_bytes() for entry in entries(folder)}


def test_the_second_call_compiles_nothing_and_says_the_same(tmp_path):
    command = ("-m", "lameta_jax.cli", *ARGUMENTS)
    here = {"LAMETA_CACHE_DIR": str(tmp_path)}
    # Two that start together, and one without a cache, as nobody makes folders in /proc.
    both = [start("-c", LISTENING, *ARGUMENTS, **here) for _ in range(2)]
    without, silence = finish(start(*command, LAMETA_CACHE_DIR="/proc/no-such"))
    assert json.loads(without)["feasible"] and silence == ""
    for process in both:
        said, events = finish(process)
        assert said == without  # JSON holds every bit of a number
        assert json.loads(events)["compile_requests_use_cache"] > 0
    kept = files(tmp_path)
    assert kept and all(SUBFOLDER in path for path in kept)

    said, events = finish(start("-c", LISTENING, *ARGUMENTS, **here))
    events = json.loads(events)
    assert said == without
    assert events["cache_hits"] == events["compile_requests_use_cache"] >= len(kept)
    assert "cache_misses" not in events and files(tmp_path) == kept

    for path, content in kept.items():  # cut off, as by a full disk
        Path(path).write_bytes(content[: len(content) // 2])
    assert finish(start(*command, **here)) == (without, "")


def test_an_empty_variable_switches_it_off_and_no_folder_is_no_reason_to_fail(tmp_path, capfd):
    file = tmp_path / "file"
    file.touch()
    for folder in ("", str(file), str(file / "below"), "/proc/no-such", "\0"):
        environment = {"LAMETA_CACHE_DIR": folder}
        assert switch_on(environment) is None
        assert environment == {"LAMETA_CACHE_DIR": folder}
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_permission_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    environment = {"LAMETA_CACHE_DIR": str(tmp_path)}
    assert switch_on(environment) is None
    assert "JAX_COMPILATION_CACHE_DIR" not in environment


def test_the_folder_is_the_first_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder({}) == tmp_path / ".cache" / "lameta_jax"
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/lameta_jax")
    assert cache_folder({"XDG_CACHE_HOME": "x"}) == tmp_path / ".cache" / "lameta_jax"
    assert cache_folder({"XDG_CACHE_HOME": "/x", "LAMETA_CACHE_DIR": "/y"}) == Path("/y")
    assert cache_folder({"LAMETA_CACHE_DIR": "y"}) == Path.cwd() / "y"
    assert cache_folder({"LAMETA_CACHE_DIR": ""}) is None
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without a home
    assert cache_folder({}) is None


def test_settings_of_jax_are_respected(tmp_path):
    environment = {"LAMETA_CACHE_DIR": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": "theirs"}
    assert switch_on(environment) is None
    assert environment["JAX_COMPILATION_CACHE_DIR"] == "theirs" and not any(tmp_path.iterdir())

    environment = {"LAMETA_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "7"}
    folder = switch_on(environment)
    assert folder == tmp_path / SUBFOLDER / processors() == Path(environment["JAX_COMPILATION_CACHE_DIR"])
    assert environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "7"
    assert folder.stat().st_mode & 0o077 == 0


def test_unequal_processors_have_folders_of_their_own(monkeypatch):
    here = processors()
    assert here == processors()
    monkeypatch.setattr("platform.machine", lambda: "other")
    assert processors() != here
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1000), raising=False)
    assert processors() != here


def test_importing_the_package_or_calling_main_from_python_changes_no_setting(tmp_path):
    program = (
        "import lameta_jax, jax; from lameta_jax.cli import main; main(['evaluate', '--help']);"
        "assert jax.config.jax_compilation_cache_dir is None"
    )
    finish(start("-c", program, LAMETA_CACHE_DIR=str(tmp_path)))
    finish(start("-m", "lameta_jax.cli", "--help", LAMETA_CACHE_DIR=str(tmp_path)))
    assert not any(tmp_path.iterdir())


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    for age, name in enumerate(["new", "old", "older", "oldest"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"0123456789")
        os.utime(tmp_path / name / "file", (1e9 - age, 1e9 - age))
    prune(tmp_path, 40)
    assert len(list(entries(tmp_path))) == 4
    prune(tmp_path, 39)  # half of it is 19
    assert [Path(entry.path).parent.name for entry in entries(tmp_path)] == ["new"]
    os.utime(tmp_path / "new" / "file", (2e9, 1e9))
    [entry] = entries(tmp_path)
    assert entry == (2e9, 10, str(tmp_path / "new" / "file"))
