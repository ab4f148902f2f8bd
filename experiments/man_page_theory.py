"""The sections of the page on MAN about its theorems, from the results files."""

from pages import load, made_by, shown
from theory_figures import READINGS
from theory_tables import (
    both_table,
    constants_table,
    divergence_table,
    noise_table,
    paper_rate_table,
    rates_table,
    slopes_table,
    start_table,
    vacuity_table,
)

ORDERS = {"second_order": "second-order", "first_order": "first-order"}


def theorem1() -> str:
    """What the data say about (8)."""
    results = load("theorem1")
    base, problems = results["base"], results["problems"]
    parts = [
        "## Theorem 1: generalisation",
        f"""Ridge and logistic regression in {results["dims"]} dimensions whose constants hold for every sample and
every model with |w| at most {results["model_radius"]:g} (models are not projected onto that ball); population losses
are exact. Around K = {base["num_agents"]}, S = {base["num_collaborators"]}, D = {base["num_samples"]},
B = {base["batch_size"]}, E = {base["num_steps"]}, T = {base["rounds"][-1]}, one variable of (8) at a time is changed;
"S/K" is S with the sum of the S gradients divided by K, as (6) is printed, and not by S. Batches are drawn with
replacement. Slopes in log-log coordinates, mean over seeds with 95% intervals, against the slope of (8) itself over the
same grid. "Supported": the interval holds the prediction, or the mean is within a quarter of it. (8) is an upper bound,
so another slope does not refute it. An error that outgrows the bound in K, D or B (marked +) would: continued to
larger values, it is above the bound whatever the hidden constant.""",
        _findings1(problems),
        "![Theorem 1](results/theorem1.png)",
        "Three readings of (1) are measured:\n\n" + "\n".join(f"- {label}" for label in READINGS.values()),
        rates_table(problems),
    ]
    for name, problem in problems.items():
        for regime, meaning in results["regimes"].items():
            for order, words in ORDERS.items():
                if order in problem["regimes"][regime]:
                    parts += [
                        f"### {name}, {meaning}; {words}",
                        slopes_table(problem["regimes"][regime][order]),
                    ]
    parts += ["### Is the bound vacuous?", vacuity_table(problems), made_by(results)]
    return "\n\n".join(parts)


def _findings1(problems: dict) -> str:
    def slopes(variable: str, reading: str, regimes: tuple[str, ...] = ("printed", "units", "larger")) -> str:
        """The range of the mean slopes over problems, rates and orders."""
        found = [
            problem["regimes"][regime][order][variable]["readings"][reading]["slope"]["mean"]
            for problem in problems.values()
            for regime in regimes
            for order in ORDERS
            if order in problem["regimes"][regime]
        ]
        return f"{min(found):.2f} to {max(found):.2f}"

    def ridge(variable: str, reading: str) -> str:
        return shown(
            problems["ridge"]["regimes"]["units"]["second_order"][variable]["readings"][reading]["slope"], 2
        )

    def bound(variable: str) -> str:
        return f"{problems['ridge']['regimes']['units']['second_order'][variable]['predicted_slope']:.2f}"

    larger = [
        problem["regimes"]["larger"]["second_order"]["B"]["predicted_slope"] for problem in problems.values()
    ]
    larger_bound = " and ".join(f"{slope:.2f}" for slope in larger)
    return f"""Ranges are of mean slopes over both problems, all learning rates and both meta-gradients; single slopes
are of ridge with rates within the conditions (rho of the Hessian) and second-order meta-gradients.

- **1 / D is supported** in all three readings ({slopes("D", "adapted")}, {slopes("D", "fresh")},
  {slopes("D", "foundation")}).
- **1 / K is supported for what Definition 3 bounds** ({slopes("K", "fresh")}) and for the foundation model
  ({slopes("K", "foundation")}). For the error as (1) prints it, it is not as soon as adaptation does something:
  {ridge("K", "adapted")}. An agent overfits its own data in adapting, by about E beta sigma^2 / D, however many others
  there are; if that goes on beyond the K measured, (8) ends below it whatever the hidden constant.
- **S is not supported.** If gradients are averaged over the S collaborators, no dependence is seen
  ({slopes("S", "fresh")}, (8): 1). If their sum is divided by K as (6) is printed, the error grows with S
  ({slopes("S/K", "fresh")}): fewer collaborators mean shorter meta-steps, that is, less training.
- **B is not supported** where (8) predicts a dependence: {ridge("B", "fresh")}, (8): {bound("B")}; beyond the
  conditions {slopes("B", "fresh", ("larger",))}, (8): {larger_bound}. Our B is
  the number of samples in a step of adaptation, in training and in testing; Definition 3's B that in testing.
- **beta is supported for the error as printed**, {ridge("beta", "adapted")}, (8): {bound("beta")}; **E** likewise in
  ridge, {ridge("E", "adapted")}, (8): {bound("E")}, elsewhere at most its direction. For what Definition 3
  bounds, there is hardly any dependence on beta ({slopes("beta", "fresh")}), and E lowers the error or leaves it
  as it is ({slopes("E", "fresh")}).
- **T:** errors of Definition 3 and of the foundation model grow and level off, and earlier than (8), whose c_g is
  below mu / 8. The error as printed may even fall with T.
- The exponent E T in (8) counts steps of adaptation as if they were meta-updates, and by its unit (8) hides an
  inverse curvature; see the docstring of `lameta_jax.meta.bounds`."""


def theorem2() -> str:
    """What the data say about (9)."""
    results = load("theorem2")
    size = results["quadratic"]
    parts = [
        "## Theorem 2: personalisation",
        f"""One agent, exact population losses, rate 2 / (mu (E + 1)) in all E steps as printed. `quadratic` has
eigenvalues from mu = {size["mu"]:g} to L = {size["L"]:g} and gradients with noise of known variance; `ridge` and
`logistic` take {results["batch_size"]} fresh samples per step, with mu, L and sigma^2 that hold for all samples and
models of the ball.""",
        _findings2(results),
        "![Theorem 2](results/theorem2.png)",
        "### The noise term: start at the optimum",
        noise_table(results["noise"]),
        f"### The constants, on `quadratic` at E = {results['grids']['mu']['E']}",
        constants_table(results["grids"]),
        "### The initial deviation, exact gradients",
        start_table(results["start"]),
        "### Too few steps",
        divergence_table(results["divergence"]),
        "### The rate of the experiments, and both theorems at once",
        paper_rate_table(results["paper_rate"]),
        both_table(results["both_theorems"]),
        made_by(results),
    ]
    return "\n\n".join(parts)


def _findings2(results: dict) -> str:
    noise = ", ".join(f"{name} {shown(part['slope'], 2)}" for name, part in results["noise"].items())
    start = results["start"]
    [printed, *_] = start["above_bound_at"].values()
    return f"""- **The noise term is supported**: slope -1 in E ({noise}), and sigma^2 / mu as printed.
- **c_I^2 is supported**, its decay (1 - mu / L)^E is not: with the printed rate the initial deviation stays at
  {start["limit_of_printed"]:.1e} (of {start["before"]:.2f}) and is above (9) with constant 1 / L at
  E = {", ".join(map(str, printed))}.
- **With too few steps, E below about L / mu - 1, adaptation makes the model worse**; the theorem has no such condition.
- A bound that holds is derived in `lameta_jax.meta.bounds.derived_personalisation_bound`."""
