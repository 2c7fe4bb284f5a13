"""What each command does to the keys of a model server."""
from corec.workers.leases import HOLD
from tests.support.redis_model import stream_commands as streams
from tests.support.redis_model.keys import WAIT, Refused, size_of, whole


def ping(keys, arguments):
    return arguments[0] if arguments else b"PONG"


def get(keys, arguments):
    return keys.get(arguments[0], bytes)


def mget(keys, arguments):
    found = [keys.get(key) for key in arguments]
    return [value if isinstance(value, bytes) else None for value in found]


def set_(keys, arguments):
    key, value, *options = arguments
    expires, only = None, b""
    while options:
        option = options.pop(0).upper()
        if option in (b"NX", b"XX"):
            only = option
        elif option in (b"EX", b"PX") and options:
            if (span := whole(options.pop(0))) <= 0:
                raise Refused("ERR invalid expire time in 'set' command")
            expires = keys.now_ms() + span * (1000 if option == b"EX" else 1)
        else:
            raise Refused("ERR syntax error")
    if (only == b"NX" and keys.get(key) is not None) or (only == b"XX" and keys.get(key) is None):
        return None
    keys.put(key, value, keeps=False)
    if expires is not None:
        keys.content.expires[key] = expires
    return b"OK"


def del_(keys, arguments):
    return sum(keys.delete(key) for key in arguments)


def exists(keys, arguments):
    return sum(keys.get(key) is not None for key in arguments)


def _expire(factor):
    def expire(keys, arguments):
        key, span = arguments[0], whole(arguments[1]) * factor
        if keys.get(key) is None:
            return 0
        if span <= 0:
            keys.delete(key)
            return 1
        keys.content.expires[key] = keys.now_ms() + span
        keys.touch(key)
        return 1

    return expire


def pttl(keys, arguments):
    key = arguments[0]
    if keys.get(key) is None:
        return -2
    return keys.content.expires[key] - keys.now_ms() if key in keys.content.expires else -1


def flushall(keys, arguments):
    keys.flush()
    return b"OK"


def memory(keys, arguments):
    value = keys.get(arguments[1])
    return None if value is None else size_of(value)


def eval_(keys, arguments):
    """The one script that CoreC has."""
    script, _, key, holder, ms = arguments
    if script.decode() != HOLD:
        raise Refused("ERR this script is not known to the model")
    found = keys.get(key, bytes)
    if found is not None and found != holder and pttl(keys, [key]) <= whole(ms):
        return 0
    set_(keys, [key, holder, b"PX", ms])
    return 1


def hset(keys, arguments):
    key, *pairs = arguments
    if not pairs or len(pairs) % 2:
        raise Refused("ERR wrong number of arguments for 'hset' command")
    found = keys.get(key, dict) or {}
    before = len(found)
    found.update(zip(pairs[::2], pairs[1::2], strict=True))
    keys.put(key, found)
    return len(found) - before


def hget(keys, arguments):
    return (keys.get(arguments[0], dict) or {}).get(arguments[1])


def hgetall(keys, arguments):
    return [part for pair in (keys.get(arguments[0], dict) or {}).items() for part in pair]


def sadd(keys, arguments):
    key, *members = arguments
    found = keys.get(key, set) or set()
    new = set(members) - found
    if new:
        keys.put(key, found | new)
    return len(new)


def srem(keys, arguments):
    key, *members = arguments
    found = keys.get(key, set) or set()
    left = found - set(members)
    if len(left) < len(found):
        keys.put(key, left)
    return len(found) - len(left)


def smembers(keys, arguments):
    return sorted(keys.get(arguments[0], set) or set())


def rpush(keys, arguments):
    key, *values = arguments
    found = [*(keys.get(key, list) or []), *values]
    keys.put(key, found)
    return len(found)


def lpush(keys, arguments):
    key, *values = arguments
    found = [*reversed(values), *(keys.get(key, list) or [])]
    keys.put(key, found)
    return len(found)


def lpop(keys, arguments):
    key, *count = arguments
    found, most = keys.get(key, list), whole(count[0]) if count else 1
    if found is None:
        return None
    if most:
        keys.put(key, found[most:])
    return found[:most] if count else found[0]


def llen(keys, arguments):
    return len(keys.get(arguments[0], list) or [])


def lrem(keys, arguments):
    key, count, value = arguments
    found, left = keys.get(key, list) or [], whole(count)
    if left <= 0:
        raise Refused("ERR the model removes from the left, a count at most")
    kept = []
    for each in found:
        if each == value and left:
            left -= 1
        else:
            kept.append(each)
    if len(kept) < len(found):
        keys.put(key, kept)
    return len(found) - len(kept)


def blpop(keys, arguments):
    *names, _ = arguments
    for key in names:
        if keys.get(key, list):
            return [key, lpop(keys, [key])]
    return WAIT


def block_ms(arguments):
    """How long (ms) a blocking command waits; 0: for ever."""
    words = [each.upper() for each in arguments]
    if words[0] == b"BLPOP":
        return round(1000 * float(arguments[-1]))
    return int(arguments[words.index(b"BLOCK") + 1])


def _ok(keys, arguments):
    return b"OK"


_COMMANDS = {
    b"PING": ping, b"GET": get, b"MGET": mget, b"SET": set_, b"DEL": del_, b"EXISTS": exists, b"EXPIRE": _expire(1000),
    b"PEXPIRE": _expire(1), b"PTTL": pttl, b"FLUSHALL": flushall, b"MEMORY": memory, b"EVAL": eval_, b"HSET": hset, b"HGET": hget,
    b"HGETALL": hgetall, b"SADD": sadd, b"SREM": srem, b"SMEMBERS": smembers, b"RPUSH": rpush, b"LPUSH": lpush, b"LPOP": lpop,
    b"LLEN": llen, b"LREM": lrem, b"BLPOP": blpop, b"XADD": streams.xadd, b"XTRIM": streams.xtrim, b"XDEL": streams.xdel,
    b"XLEN": streams.xlen, b"XRANGE": streams.xrange, b"XREVRANGE": streams.xrevrange, b"XREAD": streams.xread,
    b"XINFO": streams.xinfo, b"CLIENT": _ok, b"SELECT": _ok, b"INFO": _ok, b"CLUSTER": _ok,
}  # fmt: skip


def known(name):
    """The function of a command; one that the model lacks is refused as the server refuses what it does not know."""
    if name not in _COMMANDS:
        raise Refused(f"ERR unknown command '{name.decode()}', with args beginning with: ")
    return _COMMANDS[name]
