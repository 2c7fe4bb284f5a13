"""Sends commands to the worker of a shard through a list on Redis, and answers through a key that the sender waits for."""
import uuid
from contextlib import suppress
from typing import Any

import msgspec

from corec.common.clock import MACHINE, Clock
from corec.config.servers import RedisServer
from corec.errors import ServerError, UsageError
from corec.streams.redis.keys import shard_key
from corec.streams.redis.link import RedisLink

#: Seconds between two looks of a worker, and seconds that an answer is kept.
LOOK_S = 0.1
KEPT_S = 60


class Orders:
    """The orders of one shard, for the worker that has it."""

    def __init__(self, link: RedisLink, shard: int, clock: Clock = MACHINE) -> None:
        self._link, self._key, self._clock = link, shard_key(shard, "orders"), clock
        self._due = 0.0

    def due(self) -> list[dict[str, Any]]:
        """Orders that came since the last look; empty where the server is away."""
        if self._clock.steady_s() < self._due:
            return []
        self._due = self._clock.steady_s() + LOOK_S
        try:
            with self._link.errors("give orders"):
                found = self._link.client(self._key).lpop(self._key, 16)
        except ServerError:
            return []
        return [msgspec.json.decode(document) for document in found or ()]

    def answer(self, order: dict[str, Any], answer: dict[str, Any]) -> None:
        """Answer the sender.  Where the server is away, the answer is lost and the sender times out."""
        key = f"{self._key}:{order['id']}"
        with suppress(ServerError), self._link.errors("take an answer"):
            self._link.client(key).rpush(key, msgspec.json.encode(answer))
            self._link.client(key).expire(key, KEPT_S)

    def put_back(self, order: dict[str, Any]) -> None:
        """Leave an order that was not carried out to the next owner of the shard."""
        with suppress(ServerError), self._link.errors("take an order"):
            self._link.client(self._key).lpush(self._key, msgspec.json.encode(order))


def order(server: RedisServer, shard: int, command: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """Have the worker of *shard* carry out *command* in its next turn; returns {"turn": number}.

    UsageError where the worker refuses it, ServerError where none answers within *timeout* seconds.
    """
    link, key, id = RedisLink(server), shard_key(shard, "orders"), uuid.uuid4().hex
    try:
        with link.errors("take an order"):
            client, document = link.client(key), msgspec.json.encode({"id": id, "command": command})
            client.rpush(key, document)
            found = _wait(client, f"{key}:{id}", timeout)
            taken = found is not None or not client.lrem(key, 1, document)
    finally:
        link.close()
    if found is None:
        more = "; it was taken, and may still be carried out" if taken else ", and it is taken back"
        raise ServerError(f"nobody answered for shard {shard} within {timeout:g} s{more}", hint="see that workers run: `corec workers`")
    answer = msgspec.json.decode(found)
    if "error" in answer:
        raise UsageError(answer["error"], hint=answer.get("hint"))
    return answer


def _wait(client: Any, key: str, timeout: float) -> bytes | None:
    end = MACHINE.steady_s() + timeout
    while MACHINE.steady_s() < end:
        found = client.blpop([key], timeout=0.5)
        if found:
            return found[1]
    return None
