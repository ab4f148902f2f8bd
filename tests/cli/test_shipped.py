"""The commands that need the shipped E-LAMs and the shipped policy, as programs."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-network.yaml"


def start(*arguments, **options):
    command = [sys.executable, "-m", "lameta_jax.cli", *arguments]
    return subprocess.run(command, capture_output=True, timeout=240, check=False, **options)


def test_intent_as_a_program():
    prompts = [
        "",
        "\U0001f600",
        "\x00\x01",
        "\ud800",
        "a" * 100_000,
        "スピードより品質",
        "Be quick, errors are fine.",
    ]
    lines = [json.dumps({"id": place, "prompt": prompt}).encode() for place, prompt in enumerate(prompts)]
    run = start("intent", "--file", "-", input=b"\n".join([*lines, b'{"prompt": "\xff quick"}']))
    assert run.returncode == 0
    assert b"Traceback" not in run.stderr
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [*range(len(prompts)), None]
    for answer in answers:
        assert abs(sum(answer["preference"]) - 1) < 1e-6 and min(answer["preference"]) >= 0
    assert [answer["failed"] for answer in answers[:4]] == [True] * 4
    latency = answers[6]["preference"][2]
    assert not answers[6]["failed"] and latency == max(answers[6]["preference"])


def test_compose_as_a_program():
    run = start("compose", b"Be quick, errors are fine. \xff", "--network", EXAMPLE, "--json")
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["feasible"] is True and len(result["chain"]) == 3
    assert result["failed"] is False and result["elam"] == "large"
    assert 0 <= result["gap"] < 1
