"""Plugins: what those that misbehave do to the node's commits, and what a good one costs."""
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bad_plugins import BODIES, ratios
from benchmarks.harness import best_of
from corec.blocks import BloqueSimbiotico
from corec.config import parse
from corec.entities import crear_entidad
from corec.nucleus import CoreCNucleus

PLUGINS = Path(__file__).parent.parent / "plugins"
#: The node's commit p99 beside a plugin that misbehaves, as a multiple of that without.
MOST = 1.05
#: Milliseconds that a program may wait for a block that it registers, all of many taken together: 5 s for 5,000.
MOST_MS = 1.0
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


def test_registering_blocks(report, tmp_path, quick):
    """Each is durable before its ids are used; the last is to take no longer than the first."""
    many, found = 1000 if quick else 5000, []

    def ms_each(number):
        blocks = [BloqueSimbiotico(f"b{block}", 4, [crear_entidad(f"m{slot}", 4, lambda: 1.5) for slot in range(10)])
                  for block in range(many)]  # fmt: skip
        config = parse({"bloques": [{"id": "s", "canal": 1, "entidades": 1000}]})
        with CoreCNucleus(config, data=tmp_path / str(number), with_sources=False) as nucleus:
            bloques, moments = nucleus.modulos["registro"].bloques, [time.monotonic()]
            for block in blocks:
                bloques[block.id] = block
                moments.append(time.monotonic())
        each = np.diff(moments)     # the median: now and then the blocks that are there already are stepped
        first, last = np.median(each[:100]), np.median(each[-100:])
        found.append((1000 * (moments[-1] - moments[0]) / many, first, last))
        return found[-1][0]

    best = best_of(ms_each, wanted=MOST_MS, least=1, most=3)
    _, first, last = min(found)
    report.judge("plugins", f"{many:,} blocks of 10 entities registered, each with a commit", f"{best:.2f} ms each, the last hundred"
                 f" {last / first:.1f} x the first", f"<= {MOST_MS:g} ms", best <= MOST_MS)
