"""Configurations that use every key the kernels see, and readings of every kind for them."""
import numpy as np
from hypothesis import strategies as st

from corec._core.wire import encode_frames


def entry(**keys):
    return {"id": "a", "canal": 1, "entidades": 1000} | keys


#: Entries that between them use every key the kernels see; blocks of 7, 700, 1001 and 2000, sparse ids, a gap.
FLEET = {
    "retraso_max": 1.0,
    "bloques": [
        entry(entidades=2500, limites={"bajo": -2.5, "alto": 2.0}, silencio_max=5),
        entry(id="b", canal=2, entidades=24, entidades_por_bloque=7, ventana=0.3,
              filtro={"umbral": 0.5, "memoria": 0.1, "latido": 9, "errores": 3.0}),
        entry(id="c", entidades=1001, entidades_por_bloque=1001, filtro={"latido": 20_000, "desviacion": 0.0}),
        entry(id="d", canal=0, entidades=1400, entidades_por_bloque=700, filtro={"carga": 4.0, "memoria": 0.0001},
              autoreparacion={"max_errores": 0.002}),
        entry(id="e", canal=127, entidades=2003, plugin="p", ids=2**32 - 3000, ventana=2.0),
        entry(id="f", canal=3, entidades=9, limites={"alto": 2.0},
              ids={"device": [7_000_000, 9_000_001, 2**32 - 1], "low": [None, 1.0, -1.0], "high": [3.0, None, 1.0]}),
    ],
}  # fmt: skip
CHANNELS = {1: (0, 2499, 2524, 3524), 2: (2500, 2506, 2507, 2523), 0: (3525, 4224, 4225, 4924),
            127: (2**32 - 3000, 2**32 - 998), 3: (7_000_000, 9_000_001, 2**32 - 1)}  # fmt: skip
KNOWN = [(id, canal) for canal, ids in CHANNELS.items() for id in ids]
STRANGERS = [(4925, 1), (6_999_999, 3), (2**32 - 2, 3), (2**32 - 997, 127), (0, 2), (0, -1), (3525, 1)]
VALUES = [0.0, -0.0, 1.0, 2.0, 2.5, -3.0, 1e-30, 1e-45, 101_325.0, 1e18, -1e18]
BROKEN = [float("nan"), float("inf"), float("-inf"), 1e30, -3e38, 1.0000001e18]


#: One entry for each native function; last tiles of 7, 3, 5 and 4 entities.
STEPPED = {
    "bloques": [
        entry(id="r", entidades=2507, limites={"alto": 2.9}, funcion={"nombre": "random", "a": -1.5, "b": 3.0}),
        entry(id="s", entidades=1003, plugin="p", filtro={"latido": 5}, funcion={"nombre": "sine", "a": 5.0, "b": 2.0, "periodo": 7.0}),
        entry(id="c", entidades=5, funcion="constant"),
        entry(id="k", entidades=700, filtro={"memoria": 0.3}, funcion={"nombre": "counter", "a": 3.0, "b": 0.1}),
        entry(id="x", entidades=100, limites={"alto": 0.9}, funcion="random", intervalo=3.0,
              ids={"device": list(range(50_000, 50_100)), "low": [None] * 50 + [0.5] * 50}),
    ],
}  # fmt: skip

KNOWN_READING = st.tuples(st.sampled_from(KNOWN), st.sampled_from(VALUES) | st.floats(-4, 4, width=32), st.just(1))
FAILED_READING = st.tuples(st.sampled_from(KNOWN), st.sampled_from(VALUES + BROKEN), st.sampled_from([0, 1]))
WRONG_READING = st.tuples(st.sampled_from(KNOWN + STRANGERS), st.sampled_from(VALUES), st.sampled_from([0, 1, 2, 128, 255]))
READINGS = st.lists(KNOWN_READING | KNOWN_READING | KNOWN_READING | FAILED_READING | WRONG_READING, max_size=90)
#: How far the batch's time is from the one before it: the same window, the next ones, late ones.
PAUSES = st.sampled_from([0, 1, 99, 300, 1000, 1700, 2500, 6500, -300, -1200, -9000])


def frames(readings):
    columns = np.array([(id, canal, value, estado) for (id, canal), value, estado in readings],
                       [("id", "u4"), ("canal", "i1"), ("valor", "f4"), ("estado", "u1")])  # fmt: skip
    raw = np.frombuffer(encode_frames(columns["id"], columns["canal"], columns["valor"], 1), np.uint8).copy()
    raw[9::10] = columns["estado"]
    return raw.tobytes()
