"""How a value of an event is made from a row. Pure.

A row is a mapping of names to values: texts from a CSV file, anything that JSON has from NDJSON or a webhook. A path
(`issue.user.login`, `labels.*.name`) leads into it. A recipe makes one value, or none where the row says nothing.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Meta, Struct, field

Row = Mapping[str, Any]
Path = Annotated[str, Meta(min_length=1)]
Paths = Path | Annotated[list[Path], Meta(min_length=1)]
Texts = tuple[str, ...]
Scalar = str | int | float | bool | None

ID_CHARS_MAX = 100
_DIGEST_CHARS = 32  # 128 bits in hex: where an id is cut, what was cut away still tells it apart.
_SLUG_DIGEST_CHARS = 10


class Unusable(ValueError):
    """A row's value that a recipe cannot turn into what is wanted. The text says what was found."""


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="as", omit_defaults=True):
    """Where a value comes from.

    `from`: a path, or several of which the first that is not blank counts. `blank`: texts that mean nothing, as "n/a"
    does. `default`: what is taken if the row says nothing; null is a value. `required`: then the row is rejected, with
    this reason.
    """

    source: Paths = field(name="from")
    blank: Texts = ()
    default: Scalar | list[str] | msgspec.UnsetType = UNSET
    required: Annotated[str, Meta(min_length=1)] | None = None


class AsText(Recipe, frozen=True, kw_only=True, tag="text"):
    """The text, trimmed. `remove_start`: beginnings to take off. `cut`: at most that many characters, whole words."""

    remove_start: Texts = ()
    remove_end: Texts = ()
    one_line: bool = False
    case: Literal["lower", "upper", "sentence", "first"] | None = None
    cut: Annotated[int, Meta(ge=2)] | None = None


class AsNumber(Recipe, frozen=True, kw_only=True, tag="number"):
    """A JSON number. `decimal` is the sign before the fraction; thousands may be grouped by the other sign, a space or
    an apostrophe. Signs of currencies go, and so do the `units`."""

    decimal: Literal[".", ","] = "."
    units: Texts = ()


class AsAmount(Recipe, frozen=True, kw_only=True, tag="amount"):
    """A decimal number as text, with the digits that the row has."""

    decimal: Literal[".", ","] = "."
    units: Texts = ()


class AsDate(Recipe, frozen=True, kw_only=True, tag="date"):
    """A day. `formats`: as Python's strptime has them, or `iso`."""

    formats: Annotated[Texts, Meta(min_length=1)]


class AsTime(Recipe, frozen=True, kw_only=True, tag="time"):
    """An instant in UTC. `formats`: as strptime has them, `iso`, `epoch` or `epoch_ms`. What names no zone is in that
    of the mapping, and a day is its first instant."""

    formats: Annotated[Texts, Meta(min_length=1)]


class AsList(Recipe, frozen=True, kw_only=True, tag="list"):
    """Texts, each once. `separator` divides a text; a JSON list is taken as it is."""

    separator: Annotated[str, Meta(min_length=1)] = ","
    case: Literal["lower", "upper", "sentence", "first"] | None = None


class AsPick(Recipe, frozen=True, kw_only=True, tag="pick"):
    """Of a JSON list of texts (labels, tags) the first that begins with `start`, without it; or that is `among` these.
    Upper and lower case are the same. It says nothing where there is none."""

    start: Annotated[str, Meta(min_length=1)] | None = None
    among: Annotated[Texts, Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        if (self.start is None) == (self.among is None):
            raise ValueError("`pick` has either `start` or `among`")


class AsBoolean(Recipe, frozen=True, kw_only=True, tag="boolean"):
    true: Texts = ("true", "yes", "y", "1")
    false: Texts = ("false", "no", "n", "0")


class AsMapped(Recipe, frozen=True, kw_only=True, tag="map"):
    """By a table; upper and lower case are the same. `others`: what is not in it is refused, kept, or dropped."""

    table: Annotated[dict[str, Scalar], Meta(min_length=1)]
    others: Literal["refuse", "keep", "drop"] = "refuse"


class AsSlug(Recipe, frozen=True, kw_only=True, tag="slug"):
    """An id made of free text: `Acme Corporation` is `acme-corporation`, `Xx-holding` is `xx_holding`. Upper and lower
    case, and how many spaces there are, make no difference; where more is lost, a digest of the text is added."""


class AsValue(Recipe, frozen=True, kw_only=True, tag="value"):
    """The value as it is, whatever its type."""


class AsConstant(Recipe, frozen=True, kw_only=True, tag="constant"):
    """Always the same value, where the row says anything at all."""

    value: Scalar


AnyRecipe = (
    AsText
    | AsNumber
    | AsAmount
    | AsDate
    | AsTime
    | AsList
    | AsPick
    | AsBoolean
    | AsMapped
    | AsSlug
    | AsValue
    | AsConstant
)


class Fingerprint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="as", tag="fingerprint"):
    """A digest of several values of the row: it differs as soon as one of them does."""

    of: Annotated[list[Path], Meta(min_length=1)]


class Template(Struct, frozen=True):
    """Texts and the paths between them, in turn: a text, a path, a text, …, a text.

    As a value: none if it has paths and all of them are blank.
    """

    texts: tuple[str, ...]
    paths: tuple[str, ...]


class Constant(Struct, frozen=True):
    value: Scalar


class Members(Struct, frozen=True):
    """An object; members without a value are left out. It is none itself where one of the paths it `needs` is blank."""

    members: dict[str, "Node"]
    needs: tuple[str, ...] = ()


class Items(Struct, frozen=True):
    """A list; items without a value are left out, and it is itself none if all of them are."""

    items: tuple["Node", ...]


Node = AnyRecipe | Fingerprint | Template | Constant | Members | Items


def make(node: Node, row: Row, zone: ZoneInfo) -> Any:
    """The value that a node makes of a row; UNSET if the row says nothing. Raises Unusable."""
    match node:
        case Constant():
            return node.value
        case Template():
            return _filled(node, row)
        case Members():
            if not all(map(text_of, (look_up(row, path) for path in node.needs))):
                return UNSET
            made = {name: make(member, row, zone) for name, member in node.members.items()}
            return {name: value for name, value in made.items() if value is not UNSET}
        case Items():
            items = [value for item in node.items if (value := make(item, row, zone)) is not UNSET]
            return items if items or not node.items else UNSET
        case Fingerprint():
            values = [look_up(row, path) for path in node.of]
            return _digest(msgspec.json.encode(values, order="deterministic"))[:16]
        case _:
            return _made(node, row, zone)


def make_id(template: Template, row: Row) -> str:
    """The id that a template makes of a row: different values make different ids, whatever they hold. Raises Unusable.

    What an id cannot hold, and what stands between two values in the template, is written as `~` and two hex digits
    for each byte. What is longer than an id may be is cut, and a digest follows after `~~`.
    """
    between = "".join(template.texts[1:-1])
    parts = [template.texts[0]]
    for path, text in zip(template.paths, template.texts[1:], strict=True):
        value = text_of(look_up(row, path)).strip()
        if not value:
            raise Unusable(f"{path} is blank, and the id of the event is made of it")
        parts += [_escaped(value, between), text]
    made = "".join(parts)
    if not made[:1].isalnum():
        raise Unusable(f"the id {made[:40]!r} does not begin with a letter or a digit")
    if len(made) > ID_CHARS_MAX:
        made = made[: ID_CHARS_MAX - _DIGEST_CHARS - 2] + "~~" + _digest(made.encode())[:_DIGEST_CHARS]
    return made


def look_up(row: Row, path: str) -> Any:
    """What a path leads to, or None. A name that holds dots is found as it stands, before it is taken for steps."""
    if path in row:
        return row[path]
    return _step(row, path.split("."))


def text_of(value: Any) -> str:
    """A value as text; nothing is an empty text. Raises Unusable for objects and lists."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            raise Unusable(f"{'a list' if isinstance(value, list) else 'an object'}, not a text")


def paths_of(node: Node) -> Iterator[str]:
    """Every path that a node reads."""
    match node:
        case Constant():
            return
        case Template():
            yield from node.paths
        case Members():
            yield from node.needs
            for member in node.members.values():
                yield from paths_of(member)
        case Items():
            for item in node.items:
                yield from paths_of(item)
        case Fingerprint():
            yield from node.of
        case _:
            yield from _sources(node)


# Recipes


def _made(recipe: AnyRecipe, row: Row, zone: ZoneInfo) -> Any:
    path, found = _first(recipe, row)
    if found is not UNSET:
        try:
            value = _turned(recipe, found, zone)
        except Unusable as error:
            raise Unusable(f"{path}: {error}") from None
        if value is not UNSET:
            return value
    if recipe.required is not None:
        raise Unusable(recipe.required)
    return recipe.default


def _first(recipe: AnyRecipe, row: Row) -> tuple[str, Any]:
    blanks = {_folded(text) for text in recipe.blank}
    for path in _sources(recipe):
        value = look_up(row, path)
        if value is None or (isinstance(value, str) and (not value.strip() or _folded(value) in blanks)):
            continue
        return path, value
    return "", UNSET


def _sources(recipe: AnyRecipe) -> list[str]:
    return [recipe.source] if isinstance(recipe.source, str) else recipe.source


def _turned(recipe: AnyRecipe, value: Any, zone: ZoneInfo) -> Any:
    match recipe:
        case AsValue():
            return value
        case AsConstant():
            return recipe.value
        case AsList():
            items = value if isinstance(value, list) else text_of(value).split(recipe.separator)
            texts = [_cased(text_of(item).strip(), recipe.case) for item in items]
            return list(dict.fromkeys(text for text in texts if text)) or UNSET
        case AsPick():
            return _picked(recipe, value if isinstance(value, list) else [value])
        case AsNumber():
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            number = _decimal(text_of(value), recipe.decimal, recipe.units)
            return int(number) if number == number.to_integral_value() else float(number)
        case AsAmount():
            # A JSON number has a point, whatever sign the mapping names for texts.
            decimal = "." if isinstance(value, int | float) else recipe.decimal
            return f"{_decimal(text_of(value), decimal, recipe.units):f}"
        case AsDate():
            return _time(text_of(value), recipe.formats, zone).astimezone(zone).date().isoformat()
        case AsTime():
            time = _time(text_of(value), recipe.formats, zone).astimezone(UTC).replace(tzinfo=None)
            return time.isoformat() + "Z"
        case AsBoolean():
            return _boolean(recipe, text_of(value))
        case AsMapped():
            return _mapped(recipe, value)
        case AsSlug():
            return slug(text_of(value))
        case AsText():
            return _text(recipe, text_of(value)) or UNSET


def _text(recipe: AsText, text: str) -> str:
    text = text.strip()
    if recipe.one_line:
        text = " ".join(text.split())
    for start in recipe.remove_start:
        if text[: len(start)].casefold() == start.casefold() and len(text) > len(start):
            text = text[len(start) :].lstrip()
            break
    for end in recipe.remove_end:
        text = text.removesuffix(end).rstrip()
    text = _cased(text, recipe.case)
    return text if recipe.cut is None else _cut(text, recipe.cut)


def _cased(text: str, case: str | None) -> str:
    match case:
        case "lower":
            return text.lower()
        case "upper":
            return text.upper()
        case "sentence":
            return text[:1].upper() + text[1:].lower()
        case "first":
            return text[:1].upper() + text[1:]
        case _:
            return text


def _cut(text: str, chars_max: int) -> str:
    """Whole words of a text, and an ellipsis for the rest; a word that is too long itself is cut."""
    if len(text) <= chars_max:
        return text
    head = text[: chars_max - 1]
    if not text[chars_max - 1].isspace() and " " in head[chars_max // 2 :]:
        head = head.rpartition(" ")[0]
    return head.rstrip(" ,;:.-") + "…"


def _picked(recipe: AsPick, items: list[Any]) -> Any:
    for text in (text_of(item).strip() for item in items):
        if recipe.start is not None and _folded(text[: len(recipe.start)]) == _folded(recipe.start):
            if rest := text[len(recipe.start) :].strip():
                return rest
        elif recipe.among is not None and _folded(text) in map(_folded, recipe.among):
            return text
    return UNSET


def _mapped(recipe: AsMapped, value: Any) -> Any:
    text = text_of(value)
    table = {_folded(key): mapped for key, mapped in recipe.table.items()}
    if (key := _folded(text)) in table:
        return table[key]
    if recipe.others == "refuse":
        raise Unusable(f"{text[:80]!r} is not in the mapping's table; add it there, or say what `others` become")
    return text.strip() if recipe.others == "keep" else UNSET


def _boolean(recipe: AsBoolean, text: str) -> bool:
    key = _folded(text)
    if key in map(_folded, recipe.true):
        return True
    if key in map(_folded, recipe.false):
        return False
    raise Unusable(f"{text[:80]!r} is neither {', '.join(recipe.true)} nor {', '.join(recipe.false)}")


def _folded(text: str) -> str:
    return text.strip().casefold()


# Numbers

_WHOLE = r"(?P<whole>[0-9]+|[0-9]{1,3}(?P<sep>[%s'’ ])[0-9]{2,3}((?P=sep)[0-9]{2,3})*)?"
_NUMBER = {
    ".": re.compile(_WHOLE % "," + r"(\.(?P<part>[0-9]*))?"),
    ",": re.compile(_WHOLE % "." + r"(,(?P<part>[0-9]*))?"),
}


def _decimal(text: str, decimal: str, units: Texts) -> Decimal:
    bare = "".join(" " if sign.isspace() else sign for sign in text if unicodedata.category(sign) != "Sc").strip()
    bare = bare.replace("\N{MINUS SIGN}", "-")
    for unit in units:
        bare = bare.removesuffix(unit).removeprefix(unit).strip()
    negative = False
    # A book-keeper's minus: in front, behind, or brackets around.
    if bare.startswith("(") and bare.endswith(")"):
        negative, bare = True, bare[1:-1].strip()
    elif bare.startswith("-"):
        negative, bare = True, bare[1:].strip()
    elif bare.endswith("-"):
        negative, bare = True, bare[:-1].strip()
    elif bare.startswith("+"):
        bare = bare[1:].strip()

    number, exponent = bare, "0"
    if scientific := re.fullmatch(r"([0-9]+[.,]?[0-9]*)[eE]([+-]?[0-9]{1,2})", bare):
        number, exponent = scientific.groups()
    match = _NUMBER[decimal].fullmatch(number)
    if match is None or not (match["whole"] or match["part"]):
        raise Unusable(f"{text[:80]!r} is not a number whose decimal sign is {decimal!r}")
    groups = re.split(r"[.,'’ ]", match["whole"] or "0")
    # A lone group of two digits is a fraction in disguise; 12,34,567 is how India writes it.
    if len(groups) > 1 and len(groups[-1]) != 3:
        raise Unusable(f"{text[:80]!r}: thousands have three digits, and the decimal sign is {decimal!r}")
    try:
        value = Decimal("".join(groups) + "." + (match["part"] or "0")).scaleb(int(exponent))
    except InvalidOperation:
        raise Unusable(f"{text[:80]!r} is not a number that can be kept") from None
    if not match["part"] and value == value.to_integral_value():
        value = value.quantize(Decimal(1)) if value.adjusted() < 27 else value
    return -value if negative and value else value


# Times


def _time(text: str, formats: Texts, zone: ZoneInfo) -> datetime:
    text = text.strip()
    for form in formats:
        try:
            match form:
                case "iso":
                    time = datetime.fromisoformat(text)
                case "epoch":
                    time = datetime.fromtimestamp(float(text), UTC)
                case "epoch_ms":
                    time = datetime.fromtimestamp(float(text) / 1000, UTC)
                case _:
                    time = datetime.strptime(text, form)  # noqa: DTZ007 - its zone is that of the mapping
        except (ValueError, OverflowError, OSError):
            continue
        return time if time.tzinfo is not None else _in_zone(time, zone)
    raise Unusable(f"{text[:80]!r} is not a time of the form {' or '.join(formats)}")


def _in_zone(time: datetime, zone: ZoneInfo) -> datetime:
    """The instant that a clock in this zone showed; of two, the earlier."""
    there = time.replace(tzinfo=zone)
    if there.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != time:
        raise Unusable(f"{time.isoformat(sep=' ')} was skipped by the clocks of {zone.key}")
    return there


def check_format(form: str) -> None:
    """Raises ValueError if a format is none: a letter that strptime does not know, or no date in it."""
    if form in ("iso", "epoch", "epoch_ms"):
        return
    sample = datetime(2026, 11, 21, 10, 30, 15)  # noqa: DTZ001 - any day will do
    try:
        back = datetime.strptime(sample.strftime(form), form)  # noqa: DTZ007
    except ValueError as error:
        raise ValueError(f"{form!r} is no format of a date: {error}") from None
    if back.date() != date(2026, 11, 21):
        raise ValueError(f"{form!r} does not say day, month and year")


# Ids


def slug(text: str) -> str:
    """An id made of free text. Raises Unusable if there is nothing in it."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if not plain:
        raise Unusable("nothing to make an id of")
    if re.fullmatch(r"[a-z0-9][a-z0-9. -]*", plain) and len(plain) <= ID_CHARS_MAX:
        return plain.replace("-", "_").replace(" ", "-")
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[: ID_CHARS_MAX - _SLUG_DIGEST_CHARS - 1]
    return f"{base.strip('-') or 'id'}~{_digest(plain.encode())[:_SLUG_DIGEST_CHARS]}"


def _escaped(value: str, between: str) -> str:
    return "".join(
        sign
        if sign.isascii() and (sign.isalnum() or sign in "._:@-") and sign not in between
        else "".join(f"~{byte:02X}" for byte in sign.encode("utf-8", "backslashreplace"))
        for sign in value
    )


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


# Templates and paths


def _filled(template: Template, row: Row) -> Any:
    values = [text_of(look_up(row, path)).strip() for path in template.paths]
    if values and not any(values):
        return UNSET
    filled = template.texts[0] + "".join(value + text for value, text in zip(values, template.texts[1:], strict=True))
    return filled.strip() if values else filled


def _step(value: Any, steps: list[str]) -> Any:
    for number, step in enumerate(steps):
        if step == "*" and isinstance(value, list):
            found = [_step(item, steps[number + 1 :]) for item in value]
            return [item for item in found if item is not None]
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
