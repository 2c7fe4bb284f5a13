"""The configuration in a checkout of what deployment needs."""
import json

from tests.support.config_samples import block


def configure(checkout, **sections):
    tree = {"instance_id": "corec1", "bloques": [block(entidades=10)], "fuentes": ["host"]} | sections
    (checkout / "configs" / "corec_config.json").write_text(json.dumps(tree))


def configuration(checkout):
    """What is in it now."""
    return json.loads((checkout / "configs" / "corec_config.json").read_text())
