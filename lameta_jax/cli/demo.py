"""`lameta demo`: both stages of LAMeTA on the shipped corpus and network, ending in tables, figures and a report."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from lameta_jax import __version__
from lameta_jax.cli.common import BadInputError, say, write_json
from lameta_jax.cli.figures import draw_figures, save_figures
from lameta_jax.cli.report import report_html
from lameta_jax.cli.tables import text_table
from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.composition import (
    CompositionConfig,
    compare_composers,
    train_composer,
    train_even_composer,
    training_pools,
)
from lameta_jax.pipeline.distillation import cross_translate, distil_decoder, distil_raw, read_intents
from lameta_jax.pipeline.intents import IntentConfig, prepare_intents
from lameta_jax.pipeline.rows import composition_rows, elam_error, error_row, yardstick_rows

SIZES = tuple(ELAM_LAYERS)  # in the order of the network's E-LAMs
PACKAGES = ("jax", "flax", "optax", "numpy")
SHOWN = {
    "random": "random",
    "greedy": "greedy",
    "DRL-even": "DRL-even",
    "SRL": "SRL (IoKD translation)",
    "SRL (own preference)": "SRL (own preference)",
    "plug-in optimum (large)": "plug-in optimum",
    "optimum": "optimum",
}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The main job at small scale: distil E-LAMs, train SRL on lameta-81, compare with baselines and the optimum."""

    out: Path = Path("runs/demo")  # folder for summary.json, metrics.jsonl, figures and report.html
    seed: int = 0  # of everything that is drawn
    updates: int = 0  # policy updates of each training; 0: the tuned number
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print the summary as one JSON object


class _Run:
    """The summary so far, written to disk after every stage so that an interruption loses nothing."""

    def __init__(self, config: DemoConfig):
        self.folder = config.out
        self.started = time.time()
        self.summary: dict[str, Any] = {
            "status": "interrupted",
            "stages_done": [],
            "command": "lameta " + " ".join(sys.argv[1:]),
            "seed": config.seed,
            "versions": {"lameta_jax": __version__} | {name: metadata.version(name) for name in PACKAGES},
            "device": jax.devices()[0].platform,
            "seconds": {},
            "applications": list(BENCHMARKS),
        }

    @contextmanager
    def stage(self, name: str, title: str):
        """Time a stage, say that it runs, and keep what it found."""
        say(f"[{time.time() - self.started:4.0f} s] {title}")
        started = time.time()
        yield
        self.summary["stages_done"].append(name)
        self.summary["seconds"][name] = round(time.time() - started, 1)
        self.write()

    def write(self) -> None:
        path = self.folder / "summary.json"
        draft = path.with_suffix(".partial")
        draft.write_text(json.dumps(self.summary, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)

    def log(self, **fields: Any) -> None:
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(fields) + "\n")


def demo(config: DemoConfig) -> None:
    """Run the demo; Ctrl-C leaves a readable partial summary and report."""
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / "metrics.jsonl").write_text("")
    except OSError as error:
        raise BadInputError(f"--out: {config.out} cannot be written ({error.strerror})") from None
    if config.updates < 0:
        raise BadInputError(f"--updates = {config.updates} must not be negative")
    run = _Run(config)
    scenario = load_named("lameta-81")
    try:
        _stages(config, run, scenario)
        run.summary["status"] = "complete"
    except KeyboardInterrupt:
        say(f"interrupted: what was finished is in {config.out}/summary.json and report.html")
        raise
    finally:
        run.summary["seconds"]["total"] = round(time.time() - run.started, 1)
        run.write()
        _present(config, run, scenario)


def _stages(config: DemoConfig, run: _Run, scenario) -> None:
    intents, teacher = IntentConfig(), RecordedTeacher()
    key_elam, key_policy, key_even, key_measure = jax.random.split(jax.random.key(config.seed), 4)
    network = scenario.network
    best = optimum(network, scenario.request, jax.numpy.full((1, 4), 0.25))
    run.summary["network"] = {
        "name": scenario.name,
        "num_agents": len(scenario.agent_ids),
        "num_links": int(network.link_ber.shape[0]),
        "feasible_chains": best.feasible,
    }
    with run.stage("corpus", "reading the intents: corpus, teacher's transcript, MiniLM encoder"):
        data = prepare_intents(SentenceEncoder(), teacher, BENCHMARKS, intents, _progress("prompts encoded"))
    with run.stage("elam", "stage 1: distilling a large and a small E-LAM for each application"):
        models, crossed = _distil(key_elam, data, intents, teacher, run)
    users = {
        name: np.stack(
            [read_intents(models[name, size], part.test.levels).preferences for size in SIZES], axis=1
        )
        for name, part in data.applications.items()
    }
    _note_preferences(run, data, users)
    composition = CompositionConfig() if not config.updates else _shorter(config.updates)
    trained = {name: part.training.preferences for name, part in data.applications.items()}
    srl_users, even_users = training_pools(trained, crossed)
    with run.stage("training", "stage 2: training SRL (1 of 2), then the intent-blind DRL-even (2 of 2)"):
        srl = train_composer(key_policy, scenario, srl_users, composition, _training(run, "SRL"))
        even = train_even_composer(key_even, scenario, even_users, composition, _training(run, "DRL-even"))
        curves = {
            name: {"qoe": composer.qoe.tolist(), "fraction": composer.fraction.tolist()}
            for name, composer in {"SRL": srl, "DRL-even": even}.items()
        }
        run.summary["training"] = {"update": srl.update.tolist(), "curves": curves}
    with run.stage(
        "evaluation", "measuring every composer on the held-out test users, against the exact optimum"
    ):
        run.summary["composition"] = {}
        for name, part in data.applications.items():
            preferences = part.test.preferences
            composers = {"SRL": srl.actor}
            outcomes = compare_composers(
                key_measure, scenario, preferences, users[name], composers, even.actor, composition
            )
            rows = {row["method"]: row for row in composition_rows(outcomes)}
            shown = [rows[method] | {"method": title} for method, title in SHOWN.items()]
            run.summary["composition"][name] = shown
            run.summary.setdefault("example", _example(scenario, part, users[name], outcomes))


def _distil(key, data, intents: IntentConfig, teacher, run: _Run):
    """E-LAMs of both sizes for every application, and translations of the training prompts without leakage."""
    models, crossed = {}, {name: [] for name in data.applications}
    rows = {name: yardstick_rows(part, data.history, teacher) for name, part in data.applications.items()}
    run.summary["elam"] = rows  # from now on, so that an interruption loses no row
    for size, size_key in zip(SIZES, jax.random.split(key, len(SIZES)), strict=True):
        raw = distil_raw(size_key, size, data.history, intents)
        for name, part in data.applications.items():
            rows[name].append(error_row("raw", size, elam_error(raw, part.test)))
            models[name, size], metrics = distil_decoder(size_key, raw, part, data.history, intents.method)
            rows[name].append(error_row("iokd", size, elam_error(models[name, size], part.test)))
            crossed[name].append(cross_translate(size_key, raw, part, data.history, intents.method))
            run.log(stage="elam", application=name, elam=size, loss=np.asarray(metrics.loss).tolist())
            say(
                f"  {size} E-LAM for {name}: test MSE {rows[name][-1]['mse']:.4f} (raw {rows[name][-2]['mse']:.4f})"
            )
    return models, {name: np.stack(parts, axis=1) for name, parts in crossed.items()}


def _note_preferences(run: _Run, data, users: dict[str, np.ndarray]) -> None:
    run.summary["preferences"] = {
        name: {
            "prompts": [record.prompt for record in part.test.records],
            "users": part.test.preferences.tolist(),
            "translated": users[name][:, SIZES.index("large")].tolist(),
        }
        for name, part in data.applications.items()
    }


def _example(scenario, part, translated: np.ndarray, outcomes) -> dict[str, Any]:
    """The first test user, whoever that is: their words, what was understood, and the chain they got."""
    index, size = 0, SIZES.index("large")
    srl, best = outcomes["SRL"], outcomes["optimum"]
    chain = [int(agent) for agent in srl.chain[index]]
    types = np.asarray(scenario.network.agent_type)[chain]
    factors = {name: float(value[index]) for name, value in srl.factors._asdict().items()}
    return factors | {
        "prompt": part.test.records[index].prompt,
        "application": part.application,
        "preference": part.test.preferences[index].tolist(),
        "translated": translated[index, size].tolist(),
        "elam": "large",
        "chain": [scenario.agent_ids[agent] for agent in chain],
        "types": [scenario.type_names[kind] for kind in types],
        "subjective_qoe": float(srl.qoe[index]),
        "optimum_chain": [scenario.agent_ids[agent] for agent in best.chain[index]],
        "optimum_qoe": float(best.qoe[index]),
        "gap": float(1.0 - srl.qoe[index] / best.qoe[index]),
    }


def _present(config: DemoConfig, run: _Run, scenario) -> None:
    figures = draw_figures(run.summary, scenario)
    save_figures(figures, config.out)
    (config.out / "report.html").write_text(report_html(run.summary, figures), encoding="utf-8")
    if config.json:
        write_json(run.summary)
    else:
        print(text_table(run.summary))
        print(f"\nReport, figures and summary: {config.out / 'report.html'}")


def _shorter(updates: int) -> CompositionConfig:
    config = CompositionConfig()
    return replace(config, learner=replace(config.learner, num_updates=updates))


def _progress(what: str) -> Callable[[int, int], None]:
    last = [time.time()]

    def report(done: int, total: int) -> None:
        if time.time() - last[0] > 5 or done == total:
            last[0] = time.time()
            say(f"  {done} of {total} {what}")

    return report


def _training(run: _Run, name: str) -> Callable[[int, int, float], None]:
    def report(done: int, total: int, qoe: float) -> None:
        say(f"  {name}: {done} of {total} updates, mean QoE {qoe:.3f}")
        run.log(stage="training", composer=name, update=done, qoe=qoe)

    return report
