"""Puts aside entries at which a bug of CoreC made folding fail, so that the node goes on and can start again.

The state of the engine after such a failure is unknown, so the engine is recovered from the store.  The entry is then counted as
malformed instead of folded.  The record of the turn names it, so that a replay does the same with or without the bug.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from corec._core.wire import FRAME_BYTES, crc32c, envelope_head, pack_envelope
from corec.common.times import iso
from corec.engine import Engine
from corec.engine.batches import LAST_SEQUENCE
from corec.engine.outcome import PutAside
from corec.errors import CoreCError, UnfoldableEntry

CAUSE = "damaged"
#: Key of a turn record's command, which changes nothing, for the fingerprints of entries that were put aside.
NAMED = "unfoldable"

Batch = tuple[bytes, int]  # envelope, arrival ms

#: Fingerprints of entries that could not be folded in this process.
_found: set[int] = set()


class FoldableFilter:
    """Folds the batches of one turn and leaves out what cannot be folded."""

    def __init__(self, named: Iterable[int] = ()) -> None:
        """named: for a replay, the fingerprints that the record of the turn has."""
        self._named = frozenset(named)
        self._batch: Batch = (b"", 0)
        self.left_out: list[PutAside] = []

    def fold(self, engine_does: Callable[[Iterator[Batch]], Any], batches: Iterable[Batch]) -> Any:
        """Returns `engine_does(batches)`; UnfoldableEntry where it fails at a batch, which is left out from then on."""
        try:
            return engine_does(self._foldable(batches))
        except (CoreCError, MemoryError):
            raise
        except Exception as error:
            mark = fingerprint(self._batch[0])
            if mark in _found or mark in self._named or not self._batch[0]:
                raise  # that batch was left out, so something else fails
            _found.add(mark)
            raise UnfoldableEntry(f"{named(*self._batch)} cannot be folded: {type(error).__name__}: {error}") from error
        finally:
            self._batch = (b"", 0)

    def command(self) -> dict[str, Any] | None:
        """The command for the turn record that names the entries that were left out; None where there are none."""
        marks = sorted({fingerprint(batch.frames) for batch in self.left_out})
        return {"op": "advance", "to": 0, NAMED: marks} if marks else None

    def _foldable(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._batch = batch
            yield self._without(batch) if self._is_out(batch[0]) else batch

    def _is_out(self, payload: bytes) -> bool:
        return bool(_found or self._named) and ((mark := fingerprint(payload)) in _found or mark in self._named)

    def _without(self, batch: Batch) -> Batch:
        payload, arrival = batch
        self.left_out.append(PutAside(arrival, arrival, payload, CAUSE))
        return as_malformed(payload), arrival


def refold_without(engine: Engine, batches: Iterable[Batch], commands: Sequence[Mapping[str, Any]], **turn: Any) -> Any:
    """Fold a committed turn again, without the entries that its record puts aside; returns the outcome."""
    kept = FoldableFilter(mark for command in commands for mark in command.get(NAMED, ()))
    outcome = kept.fold(lambda foldable: engine.turn(foldable, commands=commands, **turn), batches)
    outcome.aside.extend(kept.left_out)
    return outcome


def fingerprint(payload: bytes) -> int:
    """A number by which an entry is known wherever it is read again: checksum and length."""
    return crc32c(payload) << 32 | len(payload)


def as_malformed(payload: bytes) -> bytes:
    """An envelope that the engine counts as malformed, with as many readings as *payload* has by its header."""
    try:
        count = envelope_head(payload)[1]
    except CoreCError:
        count = 0
    return pack_envelope(bytes(count * FRAME_BYTES), producer=0, epoch=0, sequence=LAST_SEQUENCE, time=0) if count else b""


def named(payload: bytes, arrival: int) -> str:
    """An entry as text for the log."""
    return f"the entry of {len(payload):,} bytes with checksum {crc32c(payload):08x} that came at {iso(arrival)} UTC"
