"""Classes of values."""

from __future__ import annotations

import pickle

import pytest

from apscheduler._values import replace, value


@value
class Point:
    """A place."""

    x: int
    y: int = 0
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x must not be negative")

    @property
    def sum(self) -> int:
        return self.x + self.y


@value
class Other:
    x: int
    y: int = 0
    names: tuple[str, ...] = ()


def test_parts_are_given_by_position_or_name_and_may_be_left_out() -> None:
    point = Point(1, names=("a",))
    assert (point.x, point.y, point.names, point.sum) == (1, 0, ("a",), 1)


@pytest.mark.parametrize("given", [{}, {"x": 1, "z": 2}])
def test_what_is_missing_or_unknown_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__\(\)"):
        Point(**given)


def test_a_class_may_check_what_it_is_given() -> None:
    with pytest.raises(ValueError, match="x must not be negative"):
        Point(-1)


def test_values_are_equal_if_they_are_of_one_class_and_all_their_parts_are() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Other(1, 2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_a_value_has_its_parts_and_nothing_else() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
    assert not hasattr(Point(1), "__dict__")


def test_a_value_shows_its_parts() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2, names=())"
    assert Point.__doc__ == "A place."


def test_what_stands_beside_a_value_neither_counts_nor_shows() -> None:
    @value
    class Noted:
        x: int
        note: str = ""
        __beside__ = ("note",)

    assert Noted(1, "a") == Noted(1, "b") != Noted(2, "a")
    assert "note" not in repr(Noted(1, "a"))
    assert replace(Noted(1, "a"), x=2).note == "a"


def test_a_copy_may_differ_in_some_parts() -> None:
    point = Point(1, 2)
    assert replace(point, y=3) == Point(1, 3)
    assert point == Point(1, 2)
    with pytest.raises(TypeError):
        replace(point, z=1)


def test_a_value_can_be_pickled_and_matched() -> None:
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
