"""What the commands on streams do."""
from tests.support.redis_model.keys import WAIT, Refused, whole
from tests.support.redis_model.stream import LOWEST, Stream, id_text, parse_end, parse_id, parse_start, require_id


def _said(text):
    return Refused(str(text))


def xadd(keys, arguments):
    key, *rest = arguments
    makes, trim = True, None
    while rest and rest[0].upper() in (b"NOMKSTREAM", b"MAXLEN", b"MINID"):
        if rest[0].upper() == b"NOMKSTREAM":
            makes, rest = False, rest[1:]
        else:
            trim, rest = _trim_of(rest)
    if len(rest) < 3 or len(rest) % 2 == 0:
        raise Refused("ERR wrong number of arguments for 'xadd' command")
    wanted, *fields = rest
    try:
        require_id(wanted)
        stream = keys.get(key, Stream)
        if stream is None:
            if not makes:
                return None
            stream = Stream()
        id = stream.next_id(wanted, keys.now_ms())
    except ValueError as error:
        raise _said(error) from None
    stream.add(id, fields)
    if trim:
        _trim(stream, *trim)
    keys.put(key, stream)
    return id_text(id)


def _trim_of(rest):
    """((what, bound, whether about), the arguments behind) of MAXLEN and MINID."""
    what, *rest = rest
    about = rest[0] == b"~"
    if rest[0] in (b"~", b"="):
        rest = rest[1:]
    return (what.upper(), rest[0], about), rest[1:]


def _trim(stream, what, bound, about):
    if what == b"MAXLEN":
        return stream.trim(max(0, len(stream) - whole(bound)), about)
    try:
        least = parse_id(bound, 0)
    except ValueError as error:
        raise _said(error) from None
    return stream.trim(sum(id < least for id in stream.ids), about)


def xtrim(keys, arguments):
    key, *rest = arguments
    trim, rest = _trim_of(rest)
    stream = keys.get(key, Stream)
    if stream is None:
        return 0
    gone = _trim(stream, *trim)
    if gone:
        keys.touch(key)
    return gone


def xdel(keys, arguments):
    key, *ids = arguments
    stream = keys.get(key, Stream)
    if stream is None:
        return 0
    try:
        wanted = [parse_id(id, 0) for id in ids]
    except ValueError as error:
        raise _said(error) from None
    gone = sum(stream.delete(id) for id in wanted)
    if gone:
        keys.touch(key)
    return gone


def xlen(keys, arguments):
    return len(keys.get(arguments[0], Stream) or ())


def _row(stream, id):
    return [id_text(id), list(stream.entries[id])]


def xrange(keys, arguments, step=1):
    key, first, last, *count = arguments
    try:
        begin, end = parse_start(first), parse_end(last)
    except ValueError as error:
        raise _said(error) from None
    stream = keys.get(key, Stream)
    ids = stream.span(begin, end)[::step] if stream else []
    return [_row(stream, id) for id in (ids[: whole(count[1])] if count else ids)]


def xrevrange(keys, arguments):
    key, last, first, *count = arguments
    return xrange(keys, [key, first, last, *count], step=-1)


def xread(keys, arguments):
    count, blocks, rest = 1 << 62, False, list(arguments)
    while (word := rest.pop(0).upper()) != b"STREAMS":
        if word == b"COUNT":
            count = whole(rest.pop(0))
        elif word == b"BLOCK":
            blocks, _ = True, rest.pop(0)
        else:
            raise Refused("ERR syntax error")
    names, positions = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    found = []
    for name, position in zip(names, positions, strict=True):
        stream = keys.get(name, Stream)
        try:
            behind = (stream.last if stream else LOWEST) if position == b"$" else parse_id(position, 0)
        except ValueError as error:
            raise _said(error) from None
        if stream and (ids := stream.behind(behind, count)):
            found.append([name, [_row(stream, id) for id in ids]])
    return found or (WAIT if blocks else None)


def xinfo(keys, arguments):
    stream = keys.get(arguments[1], Stream)
    if stream is None:
        raise Refused("ERR no such key")
    ends = [_row(stream, stream.ids[place]) if stream.ids else None for place in (0, -1)]
    return [b"length", len(stream), b"radix-tree-keys", 1, b"radix-tree-nodes", 2, b"last-generated-id", id_text(stream.last),
            b"max-deleted-entry-id", id_text(stream.deleted), b"entries-added", stream.added, b"recorded-first-entry-id",
            id_text(stream.first_id), b"groups", 0, b"first-entry", ends[0], b"last-entry", ends[1]]  # fmt: skip
