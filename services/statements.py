"""Named statements from `.sql` files."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path


class Statements(Mapping[str, str]):
    """The named statements of one `.sql` file.

    A statement begins with a line `-- its_name --` and a comment that says what it is for. `{placeholders}`
    stand for identifiers, quoted by `bind`; values are always parameters.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)

    @classmethod
    def load(cls, path: Path) -> "Statements":
        """Raises ValueError if two statements have one name."""
        _, *parts = re.split(r"^-- (\w+) --\n", path.read_text(), flags=re.MULTILINE)
        texts: dict[str, str] = {}
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in texts:
                raise ValueError(f"{path.name} has two statements of the name {name}")
            texts[name] = text.strip()
        return cls(texts)

    def bind(self, **identifiers: str) -> "Statements":
        """The same statements with their `{placeholders}` replaced by these identifiers, quoted."""
        return Statements({name: fill(text, **identifiers) for name, text in self._texts.items()})

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def fill(sql: str, **identifiers: str) -> str:
    """`sql` with each `{name}` replaced by the quoted identifier of that name."""
    for name, identifier in identifiers.items():
        sql = sql.replace(f"{{{name}}}", quote(identifier))
    return sql


def quote(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
