"""Settings come from the environment, and a wrong one is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.settings import DATABASE_FILE, SUPERVISED, VARIABLES, Settings, SettingsError, misspelt

URLS = {
    "LEDGER_DATABASE_URL": "postgresql://owner@/x",
    "LEDGER_DATABASE_WRITER_URL": "postgresql://writer@/x",
}


def test_without_variables_there_are_defaults():
    assert Settings.load({}) == Settings()
    assert Settings().embedded


def test_an_empty_variable_counts_as_unset():
    assert Settings.load({"LEDGER_PORT": "", "LEDGER_DATABASE_URL": ""}) == Settings()


def test_what_a_child_is_given_makes_the_same_settings():
    settings = Settings.load(URLS | {"LEDGER_PORT": "9", "LEDGER_HOME": "/a b", "LEDGER_MASTER_KEY_FILE": "/k"})
    assert settings.ledger_port == 9
    assert settings.master_key == Path("/k")
    assert Settings.load(settings.environ()) == settings


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("LEDGER_PORT", "many", "LEDGER_PORT: expected a whole number (found 'many')."),
        ("PROJECTOR_PORT", "65536", "PROJECTOR_PORT: expected a whole number <= 65535 (found '65536')."),
        (
            "LEDGER_LOG_LEVEL",
            "loud",
            "LEDGER_LOG_LEVEL: expected one of debug, info, warning, error (found 'loud').",
        ),
        ("LEDGER_QUEUE_EVENTS_MAX", "0", "LEDGER_QUEUE_EVENTS_MAX: expected a whole number >= 1 (found '0')."),
    ],
)
def test_a_malformed_variable_is_named(variable, text, message):
    with pytest.raises(SettingsError) as raised:
        Settings.load({variable: text})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("LEDGER_PROCESES", "LEDGER_PROCESSES"),
        ("LEDGER_PROT", "LEDGER_PORT"),
        ("PROJECTOR_PORTS", "PROJECTOR_PORT"),
        ("LEDGER_DATABASE_WRITER_ULR", "LEDGER_DATABASE_WRITER_URL"),
    ],
)
def test_a_variable_that_is_nearly_called_as_a_setting_is_taken_for_it(variable, setting):
    assert misspelt({variable: "2", "LEDGER_PORT": "9"}) == {variable: setting}
    # Who started this service has told of it.
    assert misspelt({variable: "2", SUPERVISED: "1"}) == {}


@pytest.mark.parametrize(
    "variable",
    [*VARIABLES.values(), "LEDGER_KEY", "LEDGER_OWNER_PASSWORD", "LEDGER_SERVICE_HOST", "LEDGER_PORT_8080_TCP", "PORT"],
)
def test_settings_and_what_else_a_deployment_sets_are_not_taken_for_misspelt(variable):
    assert misspelt({variable: "2"}) == {}


def test_a_role_without_a_url_of_its_own_uses_that_of_the_owner():
    settings = Settings.load(URLS)
    assert not settings.embedded
    assert settings.url("writer") == "postgresql://writer@/x"
    assert settings.url("projector") == settings.url("owner") == "postgresql://owner@/x"


def test_a_service_may_be_given_the_url_of_its_own_role_only():
    settings = Settings.load({"LEDGER_DATABASE_WRITER_URL": "postgresql://writer@/x"})
    assert settings.url("writer") == "postgresql://writer@/x"
    with pytest.raises(SettingsError, match=r"role owner: .* Set LEDGER_DATABASE_URL\."):
        settings.url("owner")
    with pytest.raises(SettingsError, match=r"role auditor: .* Set LEDGER_DATABASE_AUDITOR_URL\."):
        settings.url("auditor")


def test_without_any_database_both_ways_to_one_are_named(tmp_path):
    with pytest.raises(SettingsError, match=r"`ledger run`, or set LEDGER_DATABASE_URL"):
        Settings(home=tmp_path).url("owner")


def test_a_file_that_the_embedded_database_did_not_write_is_named(tmp_path):
    (tmp_path / DATABASE_FILE).write_text("{}")
    with pytest.raises(SettingsError, match=DATABASE_FILE):
        Settings(home=tmp_path).url("owner")


def test_who_reads_the_settings_starts_without_the_parts_of_a_service():
    loaded = "import sys, services.settings; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiohttp", "asyncpg"} & {*modules}
