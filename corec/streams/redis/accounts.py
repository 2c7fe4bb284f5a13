"""Accounts of producers on Redis: the owner of a shard writes them, and senders read their own."""
from collections.abc import Iterable, Sequence

from corec.engine.producer_marks import Account
from corec.streams.redis.keys import shard_key, shard_of
from corec.streams.redis.link import RedisLink

#: Seconds for which the account of a producer that sends no more is kept.
KEEP_S = 7 * 86_400


def account_key(shard: str, producer: int, epoch: int) -> str:
    """Key of an account: the numbers of an `Account`, with spaces between.  shard: as "{s00}"."""
    return f"{shard}:account:{producer:016x}:{epoch:016x}"


def write_accounts(link: RedisLink, shard: int, rows: Iterable[Sequence[int]]) -> None:
    """Write accounts of a shard; rows: as `Marks.to_list` gives them."""
    tag = shard_of(shard_key(shard, ""))
    with link.client(f"{tag}:").pipeline(transaction=False) as pipe:
        for producer, epoch, *account in rows:
            pipe.set(account_key(tag, producer, epoch), " ".join(map(str, account)), ex=KEEP_S)
        pipe.execute()


def read_account(link: RedisLink, stream: str, producer: int, epoch: int) -> Account | None:
    """The account of a producer of *stream*; None where the shard's owner has written none."""
    key = account_key(shard_of(stream), producer, epoch)
    found = link.client(key).get(key)
    return Account(*map(int, found.split())) if found else None
