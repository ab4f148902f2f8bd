"""First-come-first-served queues one event at a time, on an absolute clock in float64."""

import heapq


def tandem(gaps, services):
    """Waiting times [customers][hops] of requests that arrive `gaps` apart and need `services[customer][hop]`."""
    hops = len(services[0])
    free_at = [0.0] * hops
    clock, waits = 0.0, []
    for gap, needs in zip(gaps, services, strict=True):
        clock += gap
        now, row = clock, []
        for hop in range(hops):
            start = max(now, free_at[hop])
            row.append(start - now)
            now = free_at[hop] = start + needs[hop]
        waits.append(row)
    return waits


def shared(arrivals, routes, services):
    """Waiting times of requests that arrive at `arrivals` and visit the agents `routes[customer]`, by an event list."""
    events = [(time, customer, 0) for customer, time in enumerate(arrivals)]
    heapq.heapify(events)
    free_at, waits = {}, [[0.0] * len(route) for route in routes]
    while events:
        time, customer, hop = heapq.heappop(events)
        agent = routes[customer][hop]
        start = max(time, free_at.get(agent, 0.0))
        waits[customer][hop] = start - time
        free_at[agent] = start + services[customer][hop]
        if hop + 1 < len(routes[customer]):
            heapq.heappush(events, (free_at[agent], customer, hop + 1))
    return waits


def pollaczek_khinchine(arrival_rate, mean, second_moment):
    """Mean waiting time of an M/G/1 queue from the first two moments of its service time."""
    return arrival_rate * second_moment / (2 * (1 - arrival_rate * mean))


def number_found(gaps, sojourns):
    """Requests that each arrival finds at the agent."""
    departures, found, clock = [], [], 0.0
    for gap, sojourn in zip(gaps, sojourns, strict=True):
        clock += gap
        while departures and departures[0] <= clock:
            departures.pop(0)
        found.append(len(departures))
        departures.append(clock + sojourn)
    return found
