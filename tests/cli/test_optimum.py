"""`lameta optimum` against plain enumeration by the twin."""

import pytest
from reference import network_twin as twin
from reference.network_cases import changed, random_network, small_network

from lameta_jax.cli import optimum as command

REQUEST = ("t0", "t1", "t2", "t0", "t1")


def patient_network(seed, request):
    """A random network in which most chains are feasible."""
    return random_network(seed, request=request) | {"max_latency": 1.2, "capability_threshold": 0.01}


@pytest.mark.parametrize(("hops", "form"), [(2, "power"), (3, "printed"), (4, "power"), (5, "power")])
def test_the_best_chains_agree_with_the_twin(lameta, network_file, hops, form):
    compared = 0
    for seed in range(4):
        mapping = patient_network(seed, REQUEST[:hops])
        preference = [(0.7, 0.1, 0.1, 0.1), (0.05, 0.05, 0.6, 0.3)][seed % 2]
        weights = ",".join(map(str, preference))
        run = lameta(
            "optimum", "--network", network_file(mapping), "--preference", weights, "--qoe-form", form, "--top", "4",
            "--json",
        )  # fmt: skip
        served = list(twin.chains(mapping["agents"], mapping["links"], mapping["request"]))
        if not served:
            assert "no such chain" in run.refusal
            continue
        best = twin.best_chains(mapping, preference, form)
        result = run.json
        assert (result["evaluated"], result["feasible"], result["exact"]) == (len(served), len(best), True)
        if not best:
            assert (result["chain"], result["subjective_qoe"], result["alternatives"]) == (None, None, [])
            assert run.err.count("\n") == 1
            continue
        found = [result, *result["alternatives"]]
        assert len(found) == min(4, len(best))
        for entry, (qoe, chain) in zip(found, best[:4], strict=True):
            assert entry["subjective_qoe"] == pytest.approx(qoe, rel=1e-5)
            assert entry["chain"] == [mapping["agents"][place]["id"] for place in chain]
        compared += 1
    assert compared >= 2


def test_no_feasible_chain(lameta, network_file):
    path = network_file(changed(small_network(), "max_latency", 0.01))
    run = lameta("optimum", "--network", path, "--preference", "0.25,0.25,0.25,0.25", "--json")
    assert run.json["chain"] is None
    assert run.err == f"lameta: {path}: no chain found that meets (18b) and (18c)\n"
    run = lameta("optimum", "--network", path, "--preference", "0.25,0.25,0.25,0.25", "--beam", "4", "--json")
    assert (run.json["chain"], run.json["subjective_qoe"], run.json["bound"]) == (None, None, None)


def test_the_output_for_people(lameta, network_file):
    run = lameta("optimum", "--network", network_file(small_network()), "--preference", "1,0,0,0")
    assert run.code == 0 and run.err == ""
    lines = run.out.splitlines()
    assert [line.split()[0] for line in lines] == ["rank", "1", "2", "2"]
    assert lines[-1] == "2 chains, 2 of them feasible"


def test_a_beam_is_never_called_exact(lameta, network_file):
    mapping = patient_network(0, REQUEST[:3])
    path = network_file(mapping)
    result = lameta(
        "optimum", "--network", path, "--preference", "0.4,0.2,0.2,0.2", "--beam", "3", "--json"
    ).json
    optimum = twin.best_chains(mapping, (0.4, 0.2, 0.2, 0.2), "power")[0][0]
    assert result["exact"] is False and result["evaluated"] is None and result["alternatives"] == []
    assert result["subjective_qoe"] <= optimum * (1 + 1e-9) <= result["bound"] * (1 + 2e-9)
    run = lameta("optimum", "--network", path, "--preference", "0.4,0.2,0.2,0.2", "--beam", "3")
    assert "no chain exceeds" in run.out


def test_too_many_chains_are_refused_before_the_search(lameta, network_file, monkeypatch):
    monkeypatch.setattr(command, "MAX_CHAINS", 1)
    refusal = lameta("optimum", "--network", network_file(small_network()), "--preference", "1,0,0,0").refusal
    assert "--beam" in refusal and "up to 2 chains" in refusal


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--top", "0"], "--top: 0"),
        (["--top", "1001"], "--top: 1001"),
        (["--beam", "-1"], "--beam: -1"),
        (["--beam", "10001"], "--beam: 10001"),
    ],
)
def test_bad_options_are_refused_in_one_line(lameta, network_file, options, named):
    path = network_file(small_network())
    assert named in lameta("optimum", "--network", path, "--preference", "1,0,0,0", *options).refusal
