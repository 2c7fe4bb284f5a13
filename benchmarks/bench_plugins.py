"""Plugins: what those that misbehave do to the node's commits, and what a good one costs."""
import time
from pathlib import Path

import pytest

from benchmarks.bad_plugins import BODIES, ratios
from benchmarks.harness import best_of
from corec.config import parse
from corec.nucleus import CoreCNucleus

PLUGINS = Path(__file__).parent.parent / "plugins"
#: The node's commit p99 beside a plugin that misbehaves, as a multiple of that without.
MOST = 1.05
IN_PROCESS = [kind for kind in BODIES if kind != "spins"]


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("isolated", [False, True], ids=["in the node", "aislado"])
def test_commits_beside_a_bad_plugin(report, quick, tmp_path, kind, isolated):
    """Slices with and without, in turn, in one run; the best of a few runs, since neighbours spoil single ones."""
    slices, found = 8 if quick else 24, []

    def p99(number):
        found.append(ratios(tmp_path / str(number), [kind], isolated=isolated, slices=slices))
        return found[-1]["p99"]

    best = best_of(p99, wanted=MOST, least=1, most=3 if quick else 8)
    where, figure = "aislado" if isolated else "in the node", f"{best:.2f} x the commit p99 without it"
    if kind == "spins" and not isolated:
        report.note("plugins", f"{kind}, {where}", figure, "shares the interpreter until it is ended: docs/plugins.md")
        return
    report.judge("plugins", f"{kind}, {where}", figure, f"<= {MOST:g} x", best <= MOST)


def test_cost_of_the_bundled_alerts(report, tmp_path, quick):
    """The documented figures for a plugin, beside what the bundled one takes at rest."""
    nucleus = CoreCNucleus(parse({"bloques": [{"id": "s", "canal": 1, "entidades": 1000}]}), data=tmp_path, plugins=PLUGINS,
                           with_sources=False)  # fmt: skip
    nucleus.start()
    time.sleep(5 if quick else 30)
    alerts = next(each for each in nucleus.status()["plugins"] if each["name"] == "alerts")
    nucleus.stop()
    report.note("plugins", "alerts at rest", f"{alerts['ram_bytes'] / 1024:.1f} KB, {alerts['cpu_share']:.4%} of a core",
                "target 10-20 KB, 0.001-0.01 %")
