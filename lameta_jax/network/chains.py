"""All chains that can serve a request, enumerated block by block on the host."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int

from lameta_jax.network.network import AgenticNetwork, Request


class ChainTable(NamedTuple):
    """Chains of distinct, linked agents of the requested types, and the links between them."""

    agents: Int[Array, "chains hops"]
    links: Int[Array, "chains hops-1"]


class _Steps(NamedTuple):
    """The agents that can follow each agent at one hop: `agent[start[i] : start[i + 1]]`, ascending."""

    start: np.ndarray
    agent: np.ndarray
    link: np.ndarray


class _Block(NamedTuple):
    """Partial chains of equal length, in enumeration order."""

    agents: np.ndarray
    links: np.ndarray


def enumerate_chains(network: AgenticNetwork, request: Request) -> ChainTable:
    """All chains at once, in ascending order of their agents' indices, hop by hop."""
    hops = request.types.shape[0]
    blocks = list(_blocks(network, request, 65536))
    agents = np.concatenate([np.zeros((0, hops), dtype=int), *(block.agents for block in blocks)])
    links = np.concatenate([np.zeros((0, hops - 1), dtype=int), *(block.links for block in blocks)])
    return _as_table(_Block(agents, links))


def iterate_chains(network: AgenticNetwork, request: Request, chunk_size: int) -> Iterator[ChainTable]:
    """The chains of `enumerate_chains`, `chunk_size` at a time and fewer in the last chunk.

    Chains are extended depth first, one block at a time, so that memory is bounded by the request's length
    times the larger of `chunk_size` and the largest degree, however many chains there are.
    """
    waiting, count = [], 0
    for block in _blocks(network, request, chunk_size):
        waiting.append(block)
        count += len(block.agents)
        if count >= chunk_size:
            joined = _Block(*(np.concatenate(parts) for parts in zip(*waiting, strict=True)))
            full = count - count % chunk_size
            for begin in range(0, full, chunk_size):
                yield _as_table(_Block(*(part[begin : begin + chunk_size] for part in joined)))
            waiting, count = [_Block(*(part[full:] for part in joined))], count - full
    if count:
        yield _as_table(_Block(*(np.concatenate(parts) for parts in zip(*waiting, strict=True))))


def has_chain(network: AgenticNetwork, request: Request) -> bool:
    """Whether any chain can serve the request, leaving latency and capability aside."""
    return next(_blocks(network, request, 4096), None) is not None


def count_walks(network: AgenticNetwork, request: Request) -> float:
    """Walks over links through agents of the requested types: at least as many as chains, quick to count.

    They differ where the request names a type twice, as a walk may then return to an agent.
    """
    agent_type, types = np.asarray(network.agent_type), np.asarray(request.types)
    first, second = np.asarray(network.link_ends).T
    walks = (agent_type == types[0]).astype(float)
    for wanted in types[1:]:
        reached = np.bincount(second, walks[first], len(walks)) + np.bincount(
            first, walks[second], len(walks)
        )
        walks = np.where(agent_type == wanted, reached, 0.0)
    return float(walks.sum())


def _as_table(block: _Block) -> ChainTable:
    return ChainTable(*(jax.device_put(part.astype(np.int32)) for part in block))


def _blocks(network: AgenticNetwork, request: Request, block_size: int) -> Iterator[_Block]:
    """Non-empty blocks of complete chains in order, by depth-first search over blocks of partial chains."""
    first, steps = _layers(network, request)
    stack = [_Block(first[:, None], np.zeros((len(first), 0), dtype=int))]
    while stack:
        block = stack.pop()
        hop = block.links.shape[1]
        if len(block.agents) == 0:
            continue
        if hop == len(steps):
            yield block
            continue
        extended, rest = _extend(block, steps[hop], block_size)
        stack += [rest, extended]


def _extend(block: _Block, step: _Steps, block_size: int) -> tuple[_Block, _Block]:
    """Extend the first rows of a block by one agent, as many rows as give at most `block_size` results."""
    last = block.agents[:, -1]
    choices = step.start[last + 1] - step.start[last]
    total = np.cumsum(choices)
    num_rows = max(1, int(np.searchsorted(total, block_size, side="right")))
    choices, total = choices[:num_rows], total[:num_rows]

    row = np.repeat(np.arange(num_rows), choices)
    slot = np.arange(total[-1]) + np.repeat(step.start[last[:num_rows]] - (total - choices), choices)
    agent, link = step.agent[slot], step.link[slot]
    new = np.all(block.agents[row] != agent[:, None], axis=1)
    row, agent, link = row[new], agent[new], link[new]
    extended = _Block(
        np.concatenate([block.agents[row], agent[:, None]], axis=1),
        np.concatenate([block.links[row], link[:, None]], axis=1),
    )
    return extended, _Block(block.agents[num_rows:], block.links[num_rows:])


def _layers(network: AgenticNetwork, request: Request) -> tuple[np.ndarray, list[_Steps]]:
    """First agents and the steps between hops, kept only where the types alone allow a complete walk."""
    agent_type = np.asarray(network.agent_type)
    types = np.asarray(request.types)
    ends = np.asarray(network.link_ends)
    num_agents = len(agent_type)
    tail = np.concatenate([ends[:, 0], ends[:, 1]])
    head = np.concatenate([ends[:, 1], ends[:, 0]])
    link = np.tile(np.arange(len(ends)), 2)
    order = np.lexsort((head, tail))
    tail, head, link = tail[order], head[order], link[order]

    can_finish = agent_type == types[-1]
    steps = []
    for hop in range(len(types) - 1, 0, -1):
        kept = can_finish[head] & (agent_type[tail] == types[hop - 1])
        start = np.concatenate([[0], np.cumsum(np.bincount(tail[kept], minlength=num_agents))])
        steps.append(_Steps(start, head[kept], link[kept]))
        can_finish = np.diff(start) > 0
    # More hops of one type than it has agents: no chain, and no need to search for one.
    wanted = np.bincount(types, minlength=agent_type.max() + 1)
    scarce = np.any(wanted > np.bincount(agent_type, minlength=len(wanted)))
    first = np.flatnonzero(can_finish & ~scarce)
    return first, steps[::-1]
