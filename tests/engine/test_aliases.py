from engine import Envelope
from engine.embedded.aliases import Aliases


def led(*names):
    aliases = Aliases()
    for name in names:
        aliases.add(aliases.plan([name]))
    return aliases


def test_an_alias_of_an_alias_leads_to_its_lane_at_once():
    assert led(("b", "a"), ("c", "b")).lane("c") == "a"


def test_the_first_alias_of_a_name_stays():
    assert led(("b", "a"), ("b", "x")).lane("b") == "a"


def test_a_lane_to_which_others_lead_stays_a_lane():
    aliases = led(("b", "a"), ("a", "x"))
    assert (aliases.lane("a"), aliases.lane("b")) == ("a", "a")


def test_a_plan_that_was_not_applied_changes_nothing():
    aliases = Aliases()
    assert aliases.plan([("b", "a")]) == {"b": "a"}
    assert aliases.lane("b") == "b"
    assert aliases.plan([("a", "x")]) == {"a": "x"}


def test_what_is_planned_together_is_as_if_it_was_added_one_by_one():
    planned = Aliases().plan([("b", "a"), ("c", "b"), ("b", "x"), ("a", "y")])
    assert planned == {"b": "a", "c": "a"}


def test_a_batch_gets_the_keys_of_its_lanes():
    batch = [Envelope(1, "b", "", b""), Envelope(2, "x", "", b"")]
    assert led().addressed(batch, {}) == batch
    assert [envelope.key for envelope in led(("b", "a")).addressed(batch, {})] == ["a", "x"]
    assert [envelope.key for envelope in led(("b", "a")).addressed(batch, {"x": "y"})] == ["a", "y"]
