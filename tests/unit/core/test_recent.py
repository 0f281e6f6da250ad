"""What is kept of what was worked out, and when it is worked out again."""

from __future__ import annotations

from rondo.core.recent import Recent


def test_a_value_is_made_again_when_its_source_is_another_object() -> None:
    made: list[str] = []

    def make(word: str) -> str:
        made.append(word)
        return word

    recent: Recent[str] = Recent(8)
    first, equal = {"a": 1}, {"a": 1}
    assert [recent.get("k", source, lambda: make("x")) for source in (first, first, equal, None, None)] == ["x"] * 5
    assert len(made) == 3


def test_what_was_not_asked_for_longest_goes_first_and_what_is_forgotten_at_once() -> None:
    made: list[str] = []

    def ask(key: str) -> None:
        recent.get(key, None, lambda: made.append(key))

    recent: Recent[None] = Recent(2)
    for key in "abaca":
        ask(key)
    assert made == ["a", "b", "c"]
    ask("b")
    recent.forget("a")
    ask("a")
    assert made == ["a", "b", "c", "b", "a"]
