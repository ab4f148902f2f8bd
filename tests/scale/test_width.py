"""The choice of the width, on costs that are known."""

from lameta_jax.scale.width import Chunk, next_width


def chosen(seconds_of, runs, compiling=0.0, bytes_of=lambda width: 0, **limits):
    """Widths of all chunks of a sweep whose chunks take `seconds_of(width)`."""
    chunks, left, compiled = [], runs, set()
    while left:
        width = next_width(chunks, left, **limits)
        cost = 0.0 if width in compiled else compiling
        compiled.add(width)
        count = min(width, left)
        chunks.append(Chunk(0, runs - left, count, width, seconds_of(width), cost, bytes_of(width)))
        left -= count
    return [chunk.width for chunk in chunks]


def test_it_grows_while_wider_is_faster():
    assert chosen(lambda width: 1.0, 1 + 4 + 16 + 64) == [1, 4, 16, 64]


def test_it_goes_back_where_wider_is_slower():
    assert chosen(lambda width: float(width), 12) == [1, 4, 1, 1, 1, 1, 1, 1, 1]  # 4 gains nothing
    saved_up_to_4 = {1: 1.0, 4: 2.0, 16: 9.0}
    assert chosen(saved_up_to_4.get, 1 + 4 + 16 + 8) == [1, 4, 16, 4, 4]


def test_the_rest_is_done_by_whatever_is_done_first():
    overhead = {1: 1.0, 4: 1.2, 16: 1.5}
    assert chosen(overhead.get, 21 + 3) == [1, 4, 16, 4]  # not three runs alone, nor a chunk of sixteen


def test_it_does_not_compile_what_the_runs_left_cannot_pay_for():
    assert chosen(lambda width: 1.0, 6, compiling=10.0) == [1] * 6
    assert chosen(lambda width: 1.0, 40, compiling=10.0)[:2] == [1, 4]


def test_memory_bounds_it():
    assert max(chosen(lambda width: 1.0, 500, bytes_of=lambda width: 100 * width, budget=2000.0)) == 16
    assert max(chosen(lambda width: 1.0, 500, refused={16})) == 4


def test_devices_share_what_is_wider_than_one_run():
    assert chosen(lambda width: 1.0, 1 + 2 + 8 + 32, devices=2) == [1, 2, 8, 32]
    assert chosen(lambda width: 1.0 * width, 6, devices=2) == [
        1,
        2,
        1,
        1,
        1,
    ]  # no gain: one by one, on all cores


def test_a_chunk_that_was_disturbed_does_not_decide():
    """The median over a width's chunks counts."""
    chunks = [Chunk(0, 0, 4, 4, seconds, 0.0, 0) for seconds in (1.0, 1.0, 30.0)]
    chunks += [Chunk(0, 0, 1, 1, 1.0, 0.0, 0), Chunk(0, 0, 16, 16, 16.0, 0.0, 0)]
    assert next_width(chunks, 100) == 4
