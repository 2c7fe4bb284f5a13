"""Packs and unpacks frames of 10 bytes, and adds messages to streams."""
import inspect
import math
import re
import struct
from numbers import Integral
from typing import Any

from corec._core.wire import FRAME_HINT
from corec.config.values import MAX_WIRE_ID
from corec.errors import FrameError, PartialFrame, PluginError
from corec.plugin_api.stream_writer import paced

FRAME = struct.Struct("!Ibf?")
#: Entries that a plugin's stream keeps, approximately: 2 MB of single frames on Redis.
MAX_ENTRIES = 100_000
PRIORITIES = ("normal", "critical")

_INPUTS = re.compile(r"corec:in|\{s\d+\}:(in|fast)")
_LARGEST_FLOAT32 = struct.unpack("!f", b"\x7f\x7f\xff\xff")[0]


async def serializar_mensaje(id: int, canal: int, valor: float, estado: bool) -> bytes:
    """One frame of 10 bytes, struct '!Ibf?'.

    id: 0..4294967295.  canal: 0..127.  valor: fits a 32-bit float; NaN and infinity mean that the sensor failed.
    estado: False where the sensor itself reports a failure.  Raises FrameError.
    """
    if not _is_int(id) or not 0 <= id <= MAX_WIRE_ID:
        raise FrameError(f"expected an id from 0 to {MAX_WIRE_ID}, got {id!r}", hint="the registro module gives blocks their wire ids")
    if not _is_int(canal) or not 0 <= canal <= 127:
        raise FrameError(f"expected a canal from 0 to 127, got {canal!r}", hint="the channel is a signed byte; 128 to 255 do not exist")
    if estado not in (False, True):
        raise FrameError(f"expected an estado of True or False, got {estado!r}")
    return FRAME.pack(id, canal, _float32(valor), bool(estado))


async def deserializar_mensaje(mensaje: bytes) -> tuple[int, int, float, bool]:
    """(id, canal, valor, estado) of one frame.  Raises PartialFrame or FrameError."""
    if not isinstance(mensaje, bytes | bytearray | memoryview):
        raise FrameError(f"expected the {FRAME.size} bytes of a frame, got {type(mensaje).__name__}",
                         hint="a stream entry has them in its field b'm'")  # fmt: skip
    if memoryview(mensaje).nbytes != FRAME.size:
        raise PartialFrame(f"expected {FRAME.size} bytes, got {memoryview(mensaje).nbytes}",
                           hint=FRAME_HINT)  # fmt: skip
    id, canal, valor, estado = FRAME.unpack(mensaje)
    if canal < 0:
        raise FrameError(f"expected a canal from 0 to 127, got {canal & 255}", hint="the channel is a signed byte; 128 to 255 do not exist")
    if bytes(mensaje)[-1] > 1:
        raise FrameError(f"expected an estado of 0 or 1 in the last byte, got {bytes(mensaje)[-1]}")
    return id, canal, valor, estado


async def enviar_mensaje_redis(client: Any, stream: str, mensaje: bytes, prioridad: str = "normal") -> Any:
    """Add *mensaje* to *stream* as its field `m`; returns the entry's id.

    The stream keeps about the newest 100,000 entries.  prioridad: "normal" or "critical"; for a critical one an embedded node
    commits at once, and the entry has "critical" in its field `p`.  PluginError for a stream that is an input of CoreC.
    """
    _check_stream(stream)
    if prioridad not in PRIORITIES:
        raise PluginError(f"expected a prioridad of {' or '.join(PRIORITIES)}, got {prioridad!r}")
    if not isinstance(mensaje, bytes | bytearray | memoryview) or not len(mensaje):
        raise PluginError(f"expected the bytes of a message, got {mensaje!r:.60}", hint="await serializar_mensaje(...) gives them")
    if not callable(getattr(client, "xadd", None)):
        raise PluginError(f"expected a Redis client, got {client!r:.60}", hint="nucleus.redis_client is one, embedded too")
    critical = prioridad == "critical"
    fields = {"m": bytes(mensaje), **({"p": prioridad} if critical else {})}
    if hasattr(client, "__dict__") and "corec_put_out" in vars(client):    # the node's own client: sent with the commit, exactly once
        return await paced(client.corec_put_out(stream, fields, critical))
    options = {"urgent": True} if critical and getattr(client, "takes_urgent", False) is True else {}
    added = client.xadd(stream, fields, maxlen=MAX_ENTRIES, approximate=True, **options)
    return await added if inspect.isawaitable(added) else added


def _float32(valor: Any) -> float:
    wrong = FrameError(f"expected a valor that a 32-bit float holds, got {valor!r:.60}", hint="NaN says that the sensor failed")
    if isinstance(valor, str | bytes | bytearray):
        raise wrong
    try:
        number = float(valor)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if math.isfinite(number) and abs(number) > _LARGEST_FLOAT32:
        raise wrong
    return number


def _check_stream(stream: Any) -> None:
    if not isinstance(stream, str) or not stream:
        raise PluginError(f"expected the name of a stream, got {stream!r}")
    if _INPUTS.fullmatch(stream):
        raise PluginError(f"expected a stream of the plugin's own, got {stream!r}, which is an input of CoreC",
                          hint="readings come from a block that the plugin registers")  # fmt: skip


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
