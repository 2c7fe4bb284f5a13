"""Commands for a shard, whoever has it: a list on Redis, answered where the sender waits."""
import time
import uuid
from contextlib import suppress
from typing import Any

import msgspec

from corec.config.servers import RedisServer
from corec.errors import ServerError, UsageError
from corec.streams.redis.keys import shard_key
from corec.streams.redis.link import RedisLink

#: How often a worker looks, and how long an answer is kept.
LOOK_S = 0.1
KEPT_S = 60


class Orders:
    """The worker's end."""

    def __init__(self, link: RedisLink, shard: int) -> None:
        self._link, self._key = link, shard_key(shard, "orders")
        self._due = 0.0

    def due(self) -> list[dict[str, Any]]:
        """What came since the last look; a server that is away brings nothing."""
        if time.monotonic() < self._due:
            return []
        self._due = time.monotonic() + LOOK_S
        try:
            with self._link.errors("give orders"):
                found = self._link.client(self._key).lpop(self._key, 16)
        except ServerError:
            return []
        return [msgspec.json.decode(document) for document in found or ()]

    def answer(self, order: dict[str, Any], answer: dict[str, Any]) -> None:
        """Tell the sender; who does not hear of it waits until its patience ends."""
        key = f"{self._key}:{order['id']}"
        with suppress(ServerError), self._link.errors("take an answer"):
            self._link.client(key).rpush(key, msgspec.json.encode(answer))
            self._link.client(key).expire(key, KEPT_S)

    def put_back(self, order: dict[str, Any]) -> None:
        """For the next owner of the shard: it was not carried out here."""
        with suppress(ServerError), self._link.errors("take an order"):
            self._link.client(self._key).lpush(self._key, msgspec.json.encode(order))


def order(server: RedisServer, shard: int, command: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """Have *command* carried out by whoever has the shard, in its next turn: {"turn": number}; UsageError where it cannot be."""
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
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = client.blpop([key], timeout=0.5)
        if found:
            return found[1]
    return None
