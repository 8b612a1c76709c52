import random

import pytest

from telegram.fake.server.faults import Fault, Faults


@pytest.fixture
def faults():
    return Faults(random.Random(1))


def test_it_hits_by_method_and_chat(faults):
    fault = faults.add(Fault("status", method="sendMessage", chat_id=5))
    assert faults.pick("getme", {}) is None
    assert faults.pick("sendmessage", {"chat_id": 6}) is None
    assert faults.pick("sendmessage", {"chat_id": "5"}) is fault
    assert fault.hits == 1


def test_it_hits_so_many_times(faults):
    fault = faults.add(Fault("status", times=2))
    assert [faults.pick("getme", {}) for _ in range(3)] == [fault, fault, None]
    assert fault.hits == 2


def test_the_first_one_that_matches_hits(faults):
    first = faults.add(Fault("status", times=1))
    second = faults.add(Fault("html"))
    assert [faults.pick("getme", {}) for _ in range(2)] == [first, second]


def test_probability_follows_the_seed():
    def hits(seed):
        faults = Faults(random.Random(seed))
        faults.add(Fault("status", probability=0.3))
        return [faults.pick("getme", {}) is not None for _ in range(1000)]

    assert 200 < sum(hits(7)) < 400
    assert hits(7) == hits(7) != hits(8)


def test_an_unlucky_fault_lets_the_next_one_hit(faults):
    faults.add(Fault("status", probability=0.0))
    second = faults.add(Fault("html"))
    assert faults.pick("getme", {}) is second


def test_removing_lets_go(faults):
    one, other = faults.add(Fault("hang")), faults.add(Fault("hang"))
    faults.remove(one)
    assert one.removed.is_set()
    assert not other.removed.is_set()
    assert list(faults) == [other]
    faults.clear()
    assert other.removed.is_set()
    assert len(faults) == 0


@pytest.mark.parametrize(
    ("fault", "code", "description", "parameters"),
    [
        (Fault("status"), 500, "Internal Server Error", {}),
        (
            Fault("status", code=429, retry_after=3),
            429,
            "Too Many Requests: retry after 3",
            {"retry_after": 3},
        ),
        (
            Fault("status", code=403, description="Forbidden: bot was kicked"),
            403,
            "Forbidden: bot was kicked",
            {},
        ),
        (
            Fault("status", code=400, migrate_to_chat_id=-1007),
            400,
            "Bad Request",
            {"migrate_to_chat_id": -1007},
        ),
        (Fault("status", code=420), 420, "Error", {}),
    ],
)
def test_the_error_of_a_status(fault, code, description, parameters):
    error = fault.error()
    assert (error.code, error.description, error.parameters) == (code, description, parameters)


def test_html_is_a_bad_gateway_by_default():
    assert Fault("html").code == 502


def test_it_travels_as_json():
    fault = Fault("slow", seconds=0.5, method="sendMessage", times=3, hits=1)
    assert Fault(**fault.as_json()).as_json() == fault.as_json()
    assert fault.as_json()["seconds"] == 0.5


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="no such kind"):
        Fault("gremlin")  # type: ignore[arg-type]
