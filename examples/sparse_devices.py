"""Devices with ids of their own, sparse over 32 bits: data/devices.csv gives each a slot, a name, a unit and limits.

`"ids": "devices.csv"` in an entry of `bloques` does so; without a plugin, readings beyond a device's own limits are alerts.
"""
from pathlib import Path

import corec
from corec.config import load

FOLDER = Path(__file__).parent / "data" / "sparse"
KINDS = {1: "above", 2: "below"}

config = load(FOLDER)
table = config.bloques[0].table
engine = corec.Engine(config)
names = dict(zip(table.device.tolist(), zip(table.names, table.units)))
for device, (name, unit) in names.items():
    print(f"{device:>10}  {name} [{unit}]  slot {engine.locate(device)[1]}")

start = 1_700_000_000_000
for minute, values in enumerate([(60, 45, 12, 100), (84, 60, 9, 150), (88, 64, 4, 190), (88, 64, 4, 190)]):
    outcome = engine.feed_arrays(table.device, values, channel=1, at=start + minute * 60_000)
    for alert in outcome.alerts:
        name, unit = names[int(alert["id"])]
        print(f"minute {minute}: {name} at {alert['valor']:.0f} {unit}, {KINDS[alert['kind']]} {alert['limit']:.0f}")

print("a device that nobody listed:", engine.feed_arrays([99], [1.0], channel=1, at=start + 240_000).rejected)

# It prints:
#
#        1048577  boiler flow [°C]  slot 0
#        1048580  boiler return [°C]  slot 1
#      305419896  cellar [°C]  slot 2
#     4026531841  rain barrel [l]  slot 3
#     minute 2: boiler flow at 88 °C, above 85
#     minute 2: cellar at 4 °C, below 5
#     minute 2: rain barrel at 190 l, above 180
#     a device that nobody listed: {'id': 1}
