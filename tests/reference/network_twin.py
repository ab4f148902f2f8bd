"""LAMeTA (1)-(15) and (35) again, as plain Python loops over float64 numbers, written from the paper.

Shares no code with the package. `agents` are dicts with the keys of a network file, a chain is a list of
such dicts in order, and `bers` holds the bit error rates of the links between them.
"""

import itertools
import math


def pretraining_loss(compute_budget):
    zeta, eta, alpha_1, alpha_2 = 406.4, 410.7, 0.34, 0.28
    parameters = (alpha_1 * zeta / (alpha_2 * eta)) ** (1 / (alpha_1 + alpha_2))
    parameters *= (compute_budget / 6) ** (alpha_2 / (alpha_1 + alpha_2))
    tokens = (alpha_2 * eta / (alpha_1 * zeta)) ** (1 / (alpha_1 + alpha_2))
    tokens *= (compute_budget / 6) ** (alpha_1 / (alpha_1 + alpha_2))
    return zeta / parameters**alpha_1 + eta / tokens**alpha_2


def capability(agent):
    if "capability" in agent:
        return agent["capability"]
    return math.exp(-pretraining_loss(agent["compute_budget"]))


def any_of(probabilities):
    """1 - prod (1 - p), through logarithms so that tiny probabilities survive."""
    if any(p >= 1 for p in probabilities):
        return 1.0
    return -math.expm1(sum(math.log1p(-p) for p in probabilities))


def latency(agent, arrival_rate):
    mean = 1 / agent["service_rate"]
    deviation = agent["service_cv"] * mean
    second_moment = deviation**2 + mean**2
    rho = arrival_rate / agent["service_rate"]
    return mean + arrival_rate * second_moment / (2 * (1 - rho))


def poisson_tail(arrival_rate, limit):
    """P(R > limit), summed upwards term by term from the smallest k above the limit."""
    k = math.floor(limit) + 1
    term = math.exp(k * math.log(arrival_rate) - arrival_rate - math.lgamma(k + 1))
    total = 0.0
    while term > 0 and term > 1e-18 * total:
        total += term
        k += 1
        term *= arrival_rate / k
    return min(total, 1.0)


def factors(chain, bers, arrival_rate):
    """C, B, L, P of a chain."""
    product = 1.0
    for agent in chain:
        product *= capability(agent)
    total_latency = sum(latency(agent, arrival_rate) for agent in chain)
    crashes = [agent["outages"] / agent["observations"] for agent in chain]
    bottleneck = max(chain, key=lambda agent: arrival_rate / agent["service_rate"])
    overload = poisson_tail(arrival_rate, bottleneck["service_rate"])
    return product / len(chain), any_of(bers), total_latency, any_of([*crashes, overload])


def objective(c, b, latency_, p, threshold):
    return (1 - p) * ((1 - b) * math.log(c / threshold) - math.log(latency_))


def power(c, b, latency_, p, threshold, preference):
    w_c, w_b, w_l, w_p = (4 * weight for weight in preference)
    bracket = (1 - b) ** w_b * w_c * math.log(c / threshold) - w_l * math.log(latency_)
    return bracket if bracket < 0 else (1 - p) ** w_p * bracket


def printed(c, b, latency_, p, threshold, preference):
    w_c, w_b, w_l, w_p = preference
    capability_term = math.log(max(w_c, 1e-3) * c / threshold)
    return (1 - w_p * p) * ((1 - w_b * b) * capability_term - math.log(max(w_l, 1e-3) * latency_))


def chains(agents, links, request):
    """All chains of a request as tuples of agent positions, ascending, with their bit error rates."""
    position = {agent["id"]: index for index, agent in enumerate(agents)}
    ber = {}
    for link in links:
        first, second = (position[end] for end in link["between"])
        ber[first, second] = ber[second, first] = link["ber"]
    for chain in itertools.product(range(len(agents)), repeat=len(request)):
        right_types = all(agents[i]["type"] == wanted for i, wanted in zip(chain, request, strict=True))
        linked = all(pair in ber for pair in itertools.pairwise(chain))
        if right_types and linked and len(set(chain)) == len(chain):
            yield chain, [ber[pair] for pair in itertools.pairwise(chain)]


def best_chains(mapping, preference, form):
    """Feasible chains with their subjective QoE, best first, of a network file's content."""
    threshold, value = mapping["capability_threshold"], {"power": power, "printed": printed}[form]
    found = []
    for chain, bers in chains(mapping["agents"], mapping["links"], mapping["request"]):
        c, b, l, p = factors([mapping["agents"][i] for i in chain], bers, mapping["arrival_rate"])
        if l <= mapping["max_latency"] and c >= threshold:
            found.append((value(c, b, l, p, threshold, preference), chain))
    return sorted(found, key=lambda entry: -entry[0])
