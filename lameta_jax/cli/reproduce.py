"""`lameta reproduce`: one figure or table of the papers, made again by the study that made it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import lameta_jax
from lameta_jax.cli.common import BadInputError, say

STUDIES = {
    "fig5": "LAMeTA Fig. 5: what users want, and whether synthetic samples want the same (seconds)",
    "fig6": "LAMeTA Fig. 6: error in reading intents, all methods, sizes and applications (an hour)",
    "fig7": "LAMeTA Fig. 7: that error against the number of samples (a quarter of an hour)",
    "iokd_ablations": "what each part of IoKD contributes (half an hour)",
    "fig8": "LAMeTA Fig. 8: convergence and QoE of SRL and all other composers (an hour)",
    "fig9": "LAMeTA Fig. 9: the four factors while SRL learns (seconds after fig8, else an hour)",
    "fig10": "LAMeTA Fig. 10: which application's policy serves a user better (a minute after fig8)",
    "fig11": "LAMeTA Fig. 11: in-context learning with disturbed users (half an hour)",
    "srl_ablations": "what each part of SRL contributes (a quarter of an hour after fig8)",
    "generalist": "one policy for all preferences and networks (an hour)",
    "proposals": "chains proposed by a policy, and the best of them (minutes after fig8)",
    "changing_network": "arrivals that grow, agents that fail (minutes after fig8)",
    "table1": "MAN Table I: accuracy of agents that train and of agents that join (hours; --preset quick: minutes)",
    "table1-long": "MAN Table I for MNIST with four times the rounds (an hour)",
    "man-fig2": "MAN Fig. 2: both errors while MAN trains (minutes after table1)",
    "man-fig3": "MAN Fig. 3: accuracy by the number of collaborating agents (an hour; --preset quick: minutes)",
    "man-fig4": "MAN Fig. 4: both errors by S, E and beta (an hour; --preset quick: minutes)",
    "theorem1": "MAN Theorem 1 on convex problems with known constants (minutes)",
    "theorem2": "MAN Theorem 2 on convex problems with known constants (minutes)",
    "joining": "both papers: meta-learned E-LAMs and policies for an application never seen (half an hour)",
}
WITH_PRESETS = ("table1", "man-fig2", "man-fig3", "man-fig4")


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Make a figure or table of the papers again: a results file and a picture."""

    study: tyro.conf.Positional[str]  # fig5 to fig11, table1, man-fig2 to man-fig4, or a study of ours
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = (
        "runs/reproduce"  # folder for the results file and figure
    )
    seeds: int | None = None  # how many; not given: as published
    preset: Literal["quick", "reduced", "paper"] | None = None
    """of table1 and man-fig2 to man-fig4: minutes, as published, or the paper's rounds, which want a GPU"""


def reproduce(config: ReproduceConfig) -> None:
    """Run the study as a program of its own; finished trainings are kept, so the same call goes on after Ctrl-C."""
    if config.study not in STUDIES:
        raise BadInputError(f"study = {config.study!r} must be one of {', '.join(STUDIES)}")
    if config.seeds is not None and config.study == "fig5":
        raise BadInputError("--seeds: fig5 trains nothing, so it has none")
    if config.preset is not None and config.study not in WITH_PRESETS:
        raise BadInputError(f"--preset: only {', '.join(WITH_PRESETS)} have presets")
    say(STUDIES[config.study])
    script = experiments_folder() / f"{config.study.replace('-', '_')}.py"
    command = [sys.executable, str(script), "--out", config.out]
    if config.preset is not None:
        command += ["--preset", config.preset]
    if config.seeds is not None:
        command += ["--seeds", str(config.seeds)]
    # Prompts are encoded with the weights that are installed: nothing is looked up on the network.
    code = subprocess.run(command, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}).returncode
    if code == 2:
        raise BadInputError(f"{config.study}: the study refused its options, see above")
    if code:
        raise RuntimeError(f"the study ended with exit code {code}")


def experiments_folder() -> Path:
    """The studies: inside an installed package, or beside it in a clone."""
    package = Path(lameta_jax.__file__).parent
    for folder in (package / "experiments", package.parent / "experiments"):
        if (folder / "fig5.py").is_file():
            return folder
    raise BadInputError(f"the studies are neither in {package} nor beside it: reinstall, or use a clone")
