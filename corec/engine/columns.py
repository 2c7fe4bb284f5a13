"""Checks of what a program hands in, before anything is cast or folded, and cuts of it where the clock moves."""
import itertools
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from corec._core.wire import FRAME_BYTES, column, encode_frames, whole_frames
from corec.config import Config, load, parse
from corec.errors import FrameError, UsageError

LATEST_TIME = 2**53
#: ms; the beginning of 2001.  What a program gives as an earlier time is nearly always one in seconds.
FIRST_TIME = 978_307_200_000
MOST_CHANNEL, MOST_ID = 127, 2**32 - 1
_TIME_HINT = "1_700_000_000_000 is in November 2023; a datetime is taken as it is"
_SECONDS_HINT = "seconds? CoreC takes milliseconds: time.time_ns() // 1_000_000, or a datetime"
_FAILED = "a reading that failed is NaN"
_NUMBERS = (bool, int, float, np.bool_, np.number)
_COMMA = re.compile(r"[-+]?\d+,\d+")
_COMMA_HINT = "a decimal comma? Numbers are taken, not text: float(text.replace(',', '.'))"


def check_time(at: Any) -> int:
    """*at* (ms since 1970, or a datetime) in ms; FrameError."""
    ms = _milliseconds(at)
    if not (_is_number(ms) and 0 <= ms < LATEST_TIME):
        raise FrameError(f"at: expected a time in milliseconds since 1970, got {at!r}", hint=_TIME_HINT)
    return int(ms)


def check_moment(at: Any, earliest: int = FIRST_TIME) -> int:
    """The same for a time that a program gives; FrameError too where it is before *earliest* (ms): it is taken for seconds."""
    ms = check_time(at)
    if ms < earliest:
        raise FrameError(f"at: expected a time in milliseconds since 1970, got {at!r}, which is before 2001", hint=_SECONDS_HINT)
    return ms


def earliest_at(now: int) -> int:
    """The earliest time that is taken while the clock says *now* (ms): any, where the machine itself does not know the year."""
    return FIRST_TIME if now >= FIRST_TIME else 0


def _milliseconds(at: Any) -> Any:
    """A datetime, of whatever library, as ms; anything else as it is."""
    if isinstance(at, np.datetime64):
        return at.astype("M8[ms]").astype(np.int64).item()
    return round(1000 * at.timestamp()) if hasattr(at, "timestamp") and hasattr(at, "tzinfo") else at


def read_config(config: Any) -> Config:
    """The configuration at a path, of a mapping, or the Config itself; UsageError for anything else."""
    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        return parse(config)
    if isinstance(config, str | os.PathLike):
        return load(config)
    raise UsageError(f"config: expected a path, a mapping or a Config, got {_named(config)}",
                     hint="JSON text goes through corec.config.parse(text)")


def check_id(id: Any) -> int:
    """*id* as int; FrameError when it is no integer, KeyError when it is outside 0..2**32 - 1."""
    if not isinstance(id, int | np.integer) or isinstance(id, bool):
        raise FrameError(f"id: expected an integer from 0 to {MOST_ID:,}, got {id!r}",
                         hint="a device's name is no id; `corec check` prints the ids on the wire")
    if not 0 <= id <= MOST_ID:
        raise KeyError(id)
    return int(id)


def check_load(load: Any) -> float:
    """*load*, brought into 0..1; UsageError when it is no number."""
    if not _is_number(load) or math.isnan(load):
        raise UsageError(f"load: expected a number from 0 (idle) to 1 (all a node can do), got {load!r}",
                         hint="leave it out for 0; a node passes the share of its time that it is busy")
    return min(max(float(load), 0.0), 1.0)


def frame_bytes(frames: Any) -> bytes:
    """*frames* as bytes, or FrameError as in `check_frames`."""
    return bytes(check_frames(frames))


def reading_frames(readings: Iterable[Sequence[Any]]) -> bytes:
    """Tuples of id, canal, valor and estado as frames; FrameError where one of them would become something else."""
    rows = list(readings)
    try:
        ids, channels, values, states = zip(*rows, strict=True) if rows else ((), (), (), ())
    except (TypeError, ValueError) as error:
        raise FrameError(f"expected tuples of id, canal, valor and estado, got something else: {error}",
                         hint="(12, 1, 20.5, True) is a reading") from None
    return encode_frames(id_column(ids), _integers("canal", channels, np.uint8, MOST_CHANNEL, "it is the `canal` of the id's entry"),
                         value_column(values), state_column(states))


def check_channel(channel: Any) -> int:
    """*channel* from 0 to 127, or FrameError."""
    if not (isinstance(channel, int | np.integer) and 0 <= channel <= MOST_CHANNEL):
        raise FrameError(f"channel: expected an integer from 0 to {MOST_CHANNEL}, got {channel!r}",
                         hint="it is the `canal` of the ids' entry; readings of several channels are fed one by one, or as frames")
    return int(channel)


def check_frames(frames: Any) -> memoryview:
    """*frames* as bytes; FrameError unless they are bytes, a multiple of ten of them."""
    try:
        view = memoryview(frames)
        plain = view if view.format in ("B", "b", "c") and view.contiguous else None
    except (TypeError, ValueError):
        plain = None
    if plain is None:
        raise FrameError(f"frames: expected bytes, 10 for each reading, got {_named(frames)}",
                         hint="array.tobytes() of dtype [('id', '>u4'), ('canal', 'i1'), ('valor', '>f4'), ('estado', '?')];"
                              " columns go to feed_arrays")  # fmt: skip
    whole_frames(plain.nbytes)
    return plain.cast("B")


def id_column(ids: Any) -> np.ndarray:
    """*ids* as uint32[n]; FrameError where one would become another number."""
    return _integers("ids", ids, np.uint32, MOST_ID, "ids on the wire are integers; a fraction is none")


def value_column(values: Any) -> np.ndarray:
    """*values* as float32[n], NaN and infinity included; FrameError where a finite number is beyond float32."""
    given = _array("values", values, "numbers", _FAILED)
    if given.dtype == np.float32:
        return column(given, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = column(given, np.float32)
    lost = np.isinf(cast) & np.isfinite(given)
    if lost.any():
        raise _refused("values", "numbers up to 3.4e38, as 32-bit floats hold them", given, lost, _FAILED)
    return cast


def state_column(states: Any) -> np.ndarray | None:
    """*states* as uint8[n] of 0 and 1, or None where there are none."""
    return None if states is None else _integers("states", states, np.uint8, 1, "False where the sensor says that it failed")


def time_column(at: Any, earliest: int = FIRST_TIME) -> np.ndarray | None:
    """*at* (ms, or datetimes) as int64[n] of ms, or None where it is one time; FrameError where one is before *earliest*."""
    if np.ndim(at) == 0:
        return None
    given = _array("at", _times(at), "times in ms since 1970", _TIME_HINT)
    times = _integers("at", np.floor(given) if given.dtype.kind == "f" else given, np.int64, LATEST_TIME - 1, _TIME_HINT)
    early = times < earliest
    if early.any():
        raise _refused("at", "times in ms since 1970, from 2001 on", times, early, _SECONDS_HINT)
    return times


def offset_column(offsets: Any) -> np.ndarray:
    """*offsets* as int64[n] of ms; FrameError where one is no integer, or longer than time is."""
    expected, hint = f"integers between -{LATEST_TIME:,} and {LATEST_TIME:,}", "they are ms, added to the time of the batch"
    given = _array("offsets", offsets, expected, hint)
    wrong = (given < -LATEST_TIME) | (given > LATEST_TIME) | (given.dtype.kind == "f" and given != np.floor(given))
    if np.any(wrong):
        raise _refused("offsets", expected, given, wrong, hint)
    return column(given, np.int64)


def _times(at: Any) -> Any:
    """Datetimes in an array or a sequence as ms; anything else as it is."""
    given = at if isinstance(at, np.ndarray) or not isinstance(at, Sequence) else np.asarray(at)
    if getattr(getattr(given, "dtype", None), "kind", "") == "M":
        return given.astype("M8[ms]").astype(np.int64)
    if getattr(getattr(given, "dtype", None), "kind", "") == "O":
        return np.array([_milliseconds(each) for each in np.asarray(given).flat]).reshape(np.shape(given))
    return at


def check_lengths(columns: Mapping[str, np.ndarray | None]) -> None:
    """FrameError when a column is not as long as the ids."""
    lengths = {name: column.shape for name, column in columns.items() if column is not None}
    if any(len(shape) != 1 or shape != lengths["ids"] for shape in lengths.values()):
        got = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise FrameError(f"expected one value, state and time for each id, got arrays of {got}",
                         hint="`at` may be a single time, `states` may be left out")


def same_second(times: np.ndarray) -> Iterator[slice]:
    """Slices of readings in the same second: the clock moves between them, not within; times: int64[n], ms."""
    cuts = np.flatnonzero(np.diff(times // 1000)) + 1
    edges = [0, *cuts.tolist(), len(times)]
    return (slice(a, b) for a, b in itertools.pairwise(edges))


def time_order(times: np.ndarray) -> np.ndarray | None:
    """The stable order of readings by their times (int[n]); None where they stand in it already."""
    return None if (times[1:] >= times[:-1]).all() else np.argsort(times, kind="stable")


def picked(batch: dict[str, Any], order: np.ndarray) -> dict[str, Any]:
    """The readings of a batch in *order* (indexes); its columns are arrays, or bytes of frames."""
    part = {name: value[order] for name, value in batch.items() if isinstance(value, np.ndarray)}
    if "frames" in batch:
        part["frames"] = np.frombuffer(batch["frames"], np.uint8).reshape(-1, FRAME_BYTES)[order].reshape(-1)
    return {**batch, **part}


def cut(batch: dict[str, Any], run: slice) -> dict[str, Any]:
    """The readings *run* of a batch, whose columns are arrays, or bytes of frames."""
    part = {name: value[run] for name, value in batch.items() if isinstance(value, np.ndarray)}
    if "frames" in batch:
        part["frames"] = batch["frames"][run.start * FRAME_BYTES : run.stop * FRAME_BYTES]
    return {**batch, **part}


def _integers(name: str, values: Any, dtype: type, most: int, hint: str) -> np.ndarray:
    """*values* as *dtype*; FrameError unless they are integers from 0 to *most*.

    They are compared only where their type could hold another number.
    """
    expected = f"integers from 0 to {most:,}"
    given = _array(name, values, expected, hint)
    if not _fits(given.dtype, most):
        wrong = ~((given >= 0) & (given <= most) & (given.dtype.kind != "f" or given == np.floor(given)))
        if wrong.any():
            raise _refused(name, expected, given, wrong, hint)
    return column(given, dtype)


@cache
def _fits(dtype: np.dtype, most: int) -> bool:
    """Whether all that *dtype* holds is an integer from 0 to *most*."""
    return dtype.kind == "b" or (dtype.kind == "u" and np.iinfo(dtype).max <= most)


def _array(name: str, values: Any, expected: str, hint: str) -> np.ndarray:
    try:
        given = np.asarray(values)
        if np.any(getattr(values, "mask", False)):
            raise FrameError(f"{name}: expected {expected}, got a masked array", hint=".compressed(), or values.filled(numpy.nan)")
        if given.dtype.kind in "biuf":
            return given
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"{name}: expected {expected}, got {_named(values)} ({error})", hint=hint) from None
    if given.dtype.kind == "O" and given.size and all(isinstance(item, int) for item in given.flat):    # beyond 64 bits
        raise FrameError(f"{name}: expected {expected}, got {max(given.flat, key=abs)}", hint=hint)
    stranger = _first_stranger(values)
    if stranger is None:
        raise FrameError(f"{name}: expected {expected}, got an array of {given.dtype}", hint=hint)
    index, item = stranger
    is_comma = isinstance(item, str) and _COMMA.fullmatch(item.strip()) is not None
    raise FrameError(f"{name}: expected {expected}, got an array of {given.dtype}: {item!r:.60} at [{index}]",
                     hint=_COMMA_HINT if is_comma else hint)


def _first_stranger(values: Any) -> tuple[int, Any] | None:
    """(place, item) of the first that is no number, in a row of items; None in anything else."""
    items = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
    if not isinstance(items, Sequence):
        return None
    return next(((place, item) for place, item in enumerate(items) if not isinstance(item, _NUMBERS)), None)


def _refused(name: str, expected: str, given: np.ndarray, wrong: np.ndarray, hint: str) -> FrameError:
    first, count = int(np.flatnonzero(wrong)[0]), int(wrong.sum())
    more = f", the first of {count:,}" if count > 1 else ""
    return FrameError(f"{name}: expected {expected}, got {_item(given, first)} - at [{first}]{more}", hint=hint)


def _item(given: np.ndarray, index: int) -> Any:
    return given.reshape(-1)[index].item()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool | np.bool_)


def _named(value: Any) -> str:
    kind = type(value).__name__
    return f"{kind} of {value.dtype}" if isinstance(value, np.ndarray) else kind
