"""corec reload: what changes at once, what waits for a restart, what is refused; the control socket it goes through."""
import json
import socket
import time

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from corec import config as config_module
from corec.blocks import BloqueSimbiotico
from corec.cli import main
from corec.config import load, parse
from corec.config.reload import taken_over, waiting
from corec.config.types import CoreFile
from corec.control.client import NAME, RequestRefused, ask
from corec.control.server import ControlServer
from corec.entities import crear_entidad
from corec.errors import ExitCode
from tests.support.nodes import SMALL, now_ms, readings, running, small, until

pytestmark = pytest.mark.slow

FILE = "gateway.json"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def write(folder, text=None, **changes):
    (folder / FILE).write_text(json.dumps(SMALL | changes) if text is None else text)


def reload(folder):
    """`corec reload` against the node in this process: exit code and what it says."""
    result = CliRunner().invoke(main, ["reload", "--data", str(folder / "data")], catch_exceptions=False)
    return result.exit_code, result.output


def with_limits(**limits):
    first, *others = SMALL["bloques"]
    return [{**first, "limites": limits}, *others]


def test_what_may_change_while_running_changes_at_once(folder):
    # Given a node that was started with --config FILE, by another name than the usual
    with running(load(folder / FILE), folder / "data") as nucleus:
        # When a limit and the lateness change, and it is told to reload
        write(folder, bloques=with_limits(bajo=0, alto=30), retraso_max=0.5)
        code, text = reload(folder)
        # Then it says so, and the limit holds from then on
        assert (code, text) == (0, f"taken over (turn {nucleus.store_turn:,}): retraso_max, bloques.sensores.limites\n")
        nucleus.submit(readings([7], 40.0), time=now_ms()).result(60)
        assert until(lambda: [alert["kind"] for alert in nucleus.alerts.recent]) == ["high"]
        # and a second reload finds nothing to do
        assert reload(folder) == (0, f"nothing has changed: the node runs by {folder / FILE}\n")


def test_a_limit_of_the_device_table_holds_from_the_reload_on(folder):
    # Given a node whose devices stand in a table, with limits of their own
    first, *others = SMALL["bloques"]
    entries = [{**first, "ids": "devices.csv", "limites": {"alto": 90}}, *others]
    table = "device,name,unit,low,high\n70001,kiln,°C,,{high}\n70002,{name},°C,,\n"
    (folder / "devices.csv").write_text(table.format(high=50, name="door"))
    write(folder, bloques=entries)
    with running(load(folder / FILE), folder / "data") as nucleus:
        nucleus.submit(readings([70001, 70002], 40.0), time=now_ms()).result(60)
        # When a limit and a name in the table change, and it is told to reload
        (folder / "devices.csv").write_text(table.format(high=30, name="gate"))
        code, text = reload(folder)
        # Then the limit is taken over and the name is said to wait
        assert code == 0 and "taken over" in text and "bloques.sensores.ids (limits)" in text, text
        assert "waits for a restart: bloques.sensores.ids (names, units)" in text
        # And the new limit holds, for this device alone
        nucleus.submit(readings([70001, 70002], 40.0), time=now_ms()).result(60)
        assert until(lambda: [(alert["kind"], alert["entity"]) for alert in nucleus.alerts.recent] == [("high", 70001)])
        # And a limit that the table no longer has is the entry's again
        (folder / "devices.csv").write_text(table.format(high="", name="gate"))
        assert "ids (limits)" in reload(folder)[1]
        for value in (40.0, 95.0):
            nucleus.submit(readings([70001], value), time=now_ms()).result(60)
        assert until(lambda: len(nucleus.alerts.recent) == 2)
    # And a restart takes it as it is, without another set of blocks
    with running(load(folder / FILE), folder / "data") as nucleus:
        assert nucleus.status()["ledger"]["in"] == 6


def test_another_device_in_the_table_needs_a_restart(folder):
    # Given a node whose devices stand in a table
    first, *others = SMALL["bloques"]
    write(folder, bloques=[{**first, "ids": {"device": [70007, 70008]}}, *others])
    with running(load(folder / FILE), folder / "data"):
        # When a device is another one, Then the reload is refused, and says what differs
        write(folder, bloques=[{**first, "ids": {"device": [70007, 70009]}}, *others])
        code, text = reload(folder)
        assert code == ExitCode.USAGE and "got another bloques.sensores.ids" in text and "restart the node" in text


def test_configuration_is_parsed_once(folder, monkeypatch):
    # Given a node with a block that a program registered, and a change of its configuration
    with running(load(folder / FILE), folder / "data") as nucleus:
        horno = BloqueSimbiotico("horno", 4, [crear_entidad("norte", 4, lambda: 1.5)])
        nucleus.modulos["registro"].bloques["horno"] = horno
        write(folder, bloques=with_limits(alto=30))
        parsed, resolve = [], config_module.resolve_entries
        monkeypatch.setattr(config_module, "resolve_entries", lambda *arguments: (parsed.append(1), resolve(*arguments))[1])
        # When it is told to reload, Then the file is parsed, and nothing else
        code, text = reload(folder)
        assert code == 0 and "bloques.sensores.limites" in text
        assert len(parsed) == 1
        monkeypatch.undo()
        # and the node runs by what its turn record says, registered block included
        config = nucleus.engine.config
        assert config.digest == parse(config.to_mapping()).digest
        assert [entry.id for entry in config.bloques] == ["sensores", "puertas", "horno"]
    with running(load(folder / FILE), folder / "data") as nucleus:
        assert nucleus.engine.config.digest == config.digest


def test_what_needs_a_restart_is_named_and_stays(folder):
    write(folder, flota="fleet")
    with running(load(folder / FILE), folder / "data") as nucleus:
        (folder / "plugins_config.json").write_text('{"alerts": {"umbral_alerta": 3}}')
        write(folder, flota="fleet", instance_id="other", fuentes=["simulada"], max_ram_mb=512, modules=["registro"], hibernar_tras=50)
        code, text = reload(folder)
        assert code == 0
        assert text.splitlines() == [
            f"taken over (turn {nucleus.store_turn:,}): hibernar_tras",
            "waits for a restart: instance_id, modules, max_ram_mb, fuentes, plugins_config.json alerts"]  # fmt: skip
        assert nucleus.engine.config.instance_id == "test1" and nucleus.engine.config.hibernar_tras == 50
        # a second time it says what waits again, and nothing else
        assert reload(folder) == (0, text.splitlines()[1] + "\n")


@pytest.mark.parametrize("changes", [{"hibernar_tras": 50}, {"retraso_max": 0.7}, {"bloques": with_limits(alto=30)}])
def test_what_a_reload_would_have_taken_over_a_restart_takes_too(folder, changes):
    # Given a node that stopped, and a change of its configuration, of results or only of memory
    with running(load(folder / FILE), folder / "data") as nucleus:
        nucleus.submit(readings([7]), time=now_ms()).result(60)
    write(folder, **changes)
    # When it is started again, then it runs by it
    wanted = load(folder / FILE)
    with running(wanted, folder / "data") as nucleus:
        assert until(lambda: not taken_over(nucleus.engine.config, wanted))


@pytest.mark.parametrize(
    ("text", "changes", "code", "message"),
    [
        ("{", {}, ExitCode.CONFIG, "expected valid JSON"),
        (None, {"retraso_max": -1}, ExitCode.CONFIG, "at $.retraso_max (line 1)"),
        (None, {"max_ram_mb": 50}, ExitCode.CAPACITY, "expected at most 50.0 MB of RAM"),
        (None, {"bloques": SMALL["bloques"][:1]}, ExitCode.USAGE, "got another bloques.puertas"),
        (None, {"bloques": [{**SMALL["bloques"][0], "entidades": 2600}, SMALL["bloques"][1]]}, ExitCode.USAGE,
         "got another bloques.sensores.entidades"),
        (None, {"bloques": [{**SMALL["bloques"][0], "ids": 9000}, SMALL["bloques"][1]]}, ExitCode.USAGE, "bloques.sensores.ids"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_the_node_goes_on_as_it_was(folder, text, changes, code, message):
    with running(load(folder / FILE), folder / "data") as nucleus:
        before = nucleus.engine.config
        write(folder, text, **{"hibernar_tras": 50, **changes})
        found, said = reload(folder)
        assert found == code and message in said and "Traceback" not in said
        assert nucleus.engine.config is before
        nucleus.submit(readings([7]), time=now_ms()).result(60)


def test_file_that_is_gone_is_a_configuration_error(folder):
    with running(load(folder / FILE), folder / "data"):
        (folder / FILE).unlink()
        code, text = reload(folder)
        assert code == ExitCode.CONFIG and f"{folder / FILE}: expected a configuration file, got none" in text


def test_node_of_a_program_has_nothing_to_reload(folder):
    with running(small(), folder / "data"):
        code, text = reload(folder)
        assert code == ExitCode.USAGE and "configured by a program" in text


@pytest.mark.parametrize("key", sorted(set(CoreFile.__struct_fields__) - {"schema_url", "bloques"}))
def test_no_key_of_the_top_level_changes_without_a_word(key):
    one = small()
    other = replace(one, **{key: "another"})
    assert [key] == taken_over(one, other) + waiting(one, other)


# --- the socket ------------------------------------------------------------------------------------


def test_client_that_leaves_early_is_no_matter(tmp_path, capfd):
    # Given a server that takes a moment to answer
    def answer(request):
        time.sleep(0.1)
        return {"much": "x" * 1_000_000}

    server = ControlServer(tmp_path, answer)
    # When clients hang up after asking, before asking, or half way
    for sent in (b'{"op": "status"}\n', b"", b'{"op"'):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / NAME))
            client.sendall(sent)
    time.sleep(0.3)
    # Then nobody hears of it, and the next one is served
    assert len(ask(tmp_path, {"op": "status"})["much"]) == 1_000_000
    server.stop()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("error", "code"), [(ZeroDivisionError("1/0"), ExitCode.BUG), (TimeoutError(), ExitCode.USAGE)])
def test_what_goes_wrong_in_the_node_is_told_to_the_client(tmp_path, error, code):
    def answer(request):
        raise error

    server = ControlServer(tmp_path, answer)
    with pytest.raises(RequestRefused) as caught:
        ask(tmp_path, {"op": "status"})
    server.stop()
    assert caught.value.exit_code == code and caught.value.hint
