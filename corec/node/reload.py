"""`corec reload`, as the node carries it out: everything is checked before anything changes."""
from typing import TYPE_CHECKING, Any

from corec.config.ram_price import admit
from corec.config.registered import keeping_registered
from corec.config.reload import at_once, read_again, taken_over, waiting
from corec.engine.commands import check_reload

if TYPE_CHECKING:
    from corec.nucleus import CoreCNucleus


def reload(nucleus: "CoreCNucleus") -> dict[str, Any]:
    """Read the configuration again and take over what may change while running; what changed, and what waits for a restart."""
    running, started = nucleus.engine.config, nucleus.config
    wanted = read_again(started)
    grown = keeping_registered(at_once(started, wanted), running)
    check_reload(running, grown)
    admit(keeping_registered(wanted, running))
    changed = taken_over(running, grown)
    done = nucleus.command({"op": "reload", "config": grown.to_mapping()}) if changed else {"turn": nucleus.store_turn}
    if changed and "ejecucion" in nucleus.modulos:
        nucleus.modulos["ejecucion"].take_config(grown)
    return {"turn": done["turn"], "source": wanted.source, "changed": changed, "waiting": waiting(started, wanted)}
