"""Makes cold_room.csv: seven hours of a cold room, one row a minute, with three incidents.

The compressor draws more than it ever did from 05:10 to 05:40, the door stays open at 06:00 and the room is cold again
at 06:30, the thermometer fails from 07:00 to 07:10.
"""
import math
import random
from datetime import datetime, timedelta
from pathlib import Path

dice = random.Random(5)
rows = ["time,room,compressor"]
for minute in range(-180, 240):
    room = -18 + 0.8 * math.sin(minute / 9) + dice.gauss(0, 0.1)
    watts = 450 + 60 * math.sin(minute / 9 + 2) + dice.gauss(0, 8)
    if 70 <= minute < 100:
        watts += 260
    if 120 <= minute < 150:
        room += min(minute - 120, 20, 2 * (150 - minute)) * 0.5
    cell = "error" if 180 <= minute < 190 else f"{room:.2f}"
    rows.append(f"{datetime(2026, 1, 30, 4) + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ},{cell},{watts:.0f}")
Path(__file__).with_name("cold_room.csv").write_text("\n".join(rows) + "\n")
