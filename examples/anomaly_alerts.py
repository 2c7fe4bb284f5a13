"""Alerts on a recording: limits where they are known, an anomaly score where they are not, failures in any case.

The recording, data/cold_room.csv, is made by data/make_cold_room.py.  A block's score says, window by window, by how many of its
own deviations its readings are further than usual from what each sensor does on the slow clock.  It is 0 for the first 128
windows, in which the block learns what is usual: the cooling swings once in 57 minutes.  An alert has to top the peak of what came
before, so a bad half hour is one alert, not thirty; that peak halves in four hours.
"""
import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import corec

RECORDING = Path(__file__).parent / "data" / "cold_room.csv"
KINDS = {1: "too warm", 2: "too cold", 3: "silent", 4: "failed twice", 5: "unusual, score"}
COLUMNS = ("room", "compressor")

ONE = {"canal": 1, "entidades": 1, "ventana": 60, "autoreparacion": {"max_errores": 1.0}}  # it has no neighbour to inherit from
BLOCKS = [{"id": "room", "limites": {"alto": -12.0}, **ONE}, {"id": "compressor", **ONE}]
AUDIT = {"ventanas": 240, "umbral": 1.0}  # half-life of the peak, windows of a minute; least score of an alert
engine = corec.Engine({"retraso_max": 0, "auditoria": AUDIT, "bloques": BLOCKS})


def number(cell):
    try:
        return float(cell)
    except ValueError:  # text is a reading that failed
        return np.nan


def report(outcome):
    for alert in outcome.alerts:
        print(f"{clock(alert['time'])}  {COLUMNS[alert['id']]} {KINDS[alert['kind']]}: {alert['valor']:.1f}")


def clock(ms):
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M")


with RECORDING.open() as file:
    for line in csv.DictReader(file):
        at = round(datetime.fromisoformat(line["time"]).timestamp() * 1000)
        report(engine.feed_arrays([0, 1], [number(line[name]) for name in COLUMNS], channel=1, at=at))
report(engine.finish())
ledger = engine.ledger
print(f"{ledger['in']} readings, {ledger['stored']} left as messages")

# It prints:
#
#     05:11  compressor unusual, score: 1.4
#     06:03  room unusual, score: 1.1
#     06:11  room too warm: -11.8
#     07:01  room failed twice: -17.2
#     840 readings, 831 left as messages
