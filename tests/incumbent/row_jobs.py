"""What the jobs in the rows call. Both libraries find it under these names."""

from __future__ import annotations


def noop() -> None:
    pass


def echo(*args: object, **kwargs: object) -> tuple[object, ...]:
    return (*args, kwargs)


async def coroutine(value: int = 7) -> int:
    return value


class Greeter:
    def __init__(self, name: str = "world") -> None:
        self.name = name

    def greet(self, *words: str) -> str:
        return " ".join(["hello", self.name, *words])

    @classmethod
    def shout(cls, *words: str) -> str:
        return " ".join([cls.__name__, *words])

    @staticmethod
    def hum(*words: str) -> str:
        return " ".join(["hm", *words])

    class Inner:
        def nod(self) -> str:
            return "nods"

        def __repr__(self) -> str:
            return "Inner()"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Butler(Greeter):
    pass


greeter = Greeter("module")
