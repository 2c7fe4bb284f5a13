"""How far a sender is: which batches the server has, and which wait for a server that is away while others go on."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from corec.streams.redis.keys import shard_of


class Sent(NamedTuple):
    """A batch that the server has."""

    offset: int
    stream: str
    id: str
    run: str
    number: bytes  # `number_in` its envelope


class SentBatches:
    """Offsets in the tail of a sender. The batches of one shard are sent in their order; shards do not wait for each other."""

    def __init__(self, done: int) -> None:
        self.position = done  # batches up to here were sent, those of shards in `held` apart
        # shard -> offset behind which its batches have still to be sent; replaced and never changed, as other threads read it
        self.held: dict[str, int] = {}
        self._sent: dict[str, deque[Sent]] = {}

    @property
    def shards(self) -> Collection[str]:
        """Those of which the server has batches that no node has committed."""
        return [shard for shard, sent in self._sent.items() if sent]

    @property
    def sent_upto(self) -> int:
        """The offset up to which the server has everything."""
        return min([self.position, *self.held.values()])

    @property
    def committed_upto(self) -> int:
        """The offset up to which nodes have committed everything, as far as `take_committed` saw it."""
        return min([self.sent_upto, *(sent[0].offset - 1 for sent in self._sent.values() if sent)])

    def newest(self, shard: str) -> dict[str, Sent]:
        """Stream -> its newest batch on the server."""
        return {sent.stream: sent for sent in self._sent.get(shard, ())}

    def add(self, batches: Iterable[Sent]) -> None:
        """Note that the server has *batches*."""
        for sent in batches:
            self._sent.setdefault(shard_of(sent.stream), deque()).append(sent)

    def hold(self, shard: str, after: int) -> None:
        """Let the batches of a shard behind offset *after* be sent later."""
        self.held = self.held | {shard: min(after, self.held.get(shard, after))}

    def caught_up(self, shard: str, upto: int) -> None:
        """Note that the batches of a held shard were sent up to offset *upto*."""
        rest = {other: offset for other, offset in self.held.items() if other != shard}
        self.held = rest if upto >= self.position else rest | {shard: upto}

    def send_again(self, shard: str, after: int) -> int:
        """Let all batches of a shard behind *after* be sent again; returns how many of them the server had."""
        self.held = self.held | {shard: after}
        return len(self._sent.pop(shard, ()))

    def take_committed(self, shard: str, is_committed: Callable[[Sent], bool]) -> None:
        """Forget the oldest batches of a shard, as long as they are committed."""
        sent = self._sent.get(shard, deque())
        while sent and is_committed(sent[0]):
            sent.popleft()

    def set_runs(self, run_of: Callable[[str], str]) -> None:
        """Note that the servers have all batches in the life that they have now."""
        for shard, batches in self._sent.items():
            self._sent[shard] = deque(sent._replace(run=run_of(sent.stream)) for sent in batches)

    def __len__(self) -> int:
        return sum(map(len, self._sent.values()))
