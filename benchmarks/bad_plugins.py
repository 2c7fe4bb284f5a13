"""What a plugin that misbehaves does to the commits of its node: one run, with and without in turn, slice by slice.

A file says when the plugin misbehaves; commits of critical readings are timed in both kinds of slices, so that
neighbours on the machine count for both alike.
"""
import json
import time
from collections import deque
from pathlib import Path

from corec._core.wire import encode_frames
from corec.config import parse
from corec.nucleus import CoreCNucleus

CONFIG = {"instance_id": "bench1", "bloques": [{"id": "s", "canal": 2, "entidades": 1000}]}
#: Seconds of one slice, longer where so few commits fit in; readings between two commits; seconds between two of those.
SLICE_S, LEAST, READINGS, EVERY_S = 0.25, 10, 100, 0.004

BODIES = {
    "raises": "raise ValueError('always')",
    "hangs": "await asyncio.Event().wait()",
    "blocks": "time.sleep(0.2)",
    "leaks": "Plugin.kept.append(bytearray(200_000))",
    "floods": "for _ in range(200): await self.nucleus.redis_client.xadd('ruido', {'m': b'x' * 2000})",
    "spins": "while os.path.exists(self.flag): pass",
}
CODE = """
import asyncio, os, time
class Plugin:
    kept = []
    def __init__(self, nucleus, config):
        self.nucleus, self.flag = nucleus, config["flag"]
    async def procesar(self, datos, carga):
        if os.path.exists(self.flag):
            {body}
def inicializar(nucleus, config):
    nucleus.registrar_plugin({name!r}, Plugin(nucleus, config))
"""


def write(folder: Path, kind: str, *, isolated: bool) -> None:
    """A plugin that misbehaves in one way, as long as the flag is up."""
    plugin = folder / "plugins" / kind
    plugin.mkdir(parents=True)
    (plugin / "main.py").write_text(CODE.format(body=BODIES[kind], name=kind))
    settings = {"aislado": isolated, "flag": str(folder / "flag"), "intervalo": 0.05, "pase_max": 0.2, "max_ram_mb": 256, "max_mb_s": 0.1}
    (plugin / "config.json").write_text(json.dumps(settings))


def ratios(folder: Path, kinds: list[str], *, isolated: bool, slices: int) -> dict[str, float]:
    """p50 and p99 of the commits beside these plugins, as multiples of those without."""
    for kind in kinds:
        write(folder, kind, isolated=isolated)
    flag, calm, bad = folder / "flag", [], []
    nucleus = CoreCNucleus(parse(CONFIG), data=folder / "data", plugins=folder / "plugins", with_sources=False)
    nucleus.start()
    try:
        _until_running(nucleus, kinds)
        _slice(nucleus)     # warm
        for number in range(2 * slices):    # with, without, without, with: what drifts counts for both alike
            if number % 4 in (0, 3):
                flag.touch()
                bad += _slice(nucleus)
                flag.unlink()
            else:
                calm += _slice(nucleus)
    finally:
        nucleus.stop()
    return {"p50": _share(bad, 0.5) / _share(calm, 0.5), "p99": _share(bad, 0.99) / _share(calm, 0.99), "commits": len(calm) + len(bad),
            "p99_ms": _share(bad, 0.99), "failures": sum(each["failures"] for each in nucleus.status()["plugins"])}  # fmt: skip


def _until_running(nucleus: CoreCNucleus, kinds: list[str]) -> None:
    end = time.monotonic() + 20
    while sum(each["state"] == "running" for each in nucleus.status()["plugins"]) < len(kinds):
        assert time.monotonic() < end, nucleus.status()["plugins"]
        time.sleep(0.05)


def _slice(nucleus: CoreCNucleus) -> list[float]:
    """The commits of one slice, in ms."""
    frames = encode_frames(range(READINGS), 2, 20.0, True)
    nucleus.pipeline.commit_ms = taken = deque()
    end = time.monotonic() + SLICE_S
    while time.monotonic() < end or len(taken) < LEAST:
        nucleus.submit(frames, time=time.time_ns() // 1_000_000).result(10)
        time.sleep(EVERY_S)
    return list(taken)


def _share(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]
