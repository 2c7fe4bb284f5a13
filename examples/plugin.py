"""A plugin is a folder: this runs a node with the one in examples/plugins/door_bell, opens a door and reads its stream.

`corec run --plugins examples/plugins` does the same with a node of yours.
"""
import asyncio
import tempfile
import time
from pathlib import Path

from corec._core.wire import encode_frames
from corec.config import parse
from corec.core import deserializar_mensaje
from corec.nucleus import CoreCNucleus

PLUGINS = Path(__file__).parent / "plugins"
CONFIG = parse({"instance_id": "house", "bloques": [{"id": "doors", "canal": 2, "entidades": 8, "limites": {"alto": 0.5}}]})


async def main():
    with tempfile.TemporaryDirectory() as data:
        node = CoreCNucleus(CONFIG, data=data, plugins=PLUGINS)
        await asyncio.to_thread(node.start)
        for opened in (0.0, 1.0):
            frames = encode_frames([3, 5], 2, [0.0, opened], True)
            node.submit(frames, time=time.time_ns() // 1_000_000).result()
        entries = []
        while not entries:  # a pass of the plugin comes every 0.2 s
            await asyncio.sleep(0.05)
            entries = await node.redis_client.xread({"bell": "0"})
        await asyncio.to_thread(node.stop)
        for stream, added in entries:
            for _, fields in added:
                print(stream.decode(), await deserializar_mensaje(fields[b"m"]))


asyncio.run(main())

# It prints:
#
#     bell (5, 2, 1.0, True)
