"""A fixed share of the simulated runs of the real PostgreSQL store (shares.py)."""

import pytest

from tests.sim.shares import simulate

pytestmark = pytest.mark.usefixtures("quiet")

SEEDS = (1, 23, 7, 20)
"""They find the mutants of the order of calls (tests/mutants/postgres_faults.toml)."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept(seed):
    outcome = simulate(seed)
    assert outcome.failures == ()
    assert outcome.updates > 50
    assert outcome.counts.total() > 3


def test_a_seed_is_a_run():
    first, again = simulate(7), simulate(7)
    assert first == again
    assert simulate(8) != first
