"""A node's status as lines of text, 80 columns wide; `status_view` shows them in colour and redraws them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from corec.common.text import amount, counted, duration, elided
from corec.common.times import clock, iso

Status = Mapping[str, Any]

BARS = "▁▂▃▄▅▆▇█"
#: Alerts that are shown; most of them where a given height leaves room.
ALERTS, MOST_ALERTS = 5, 10
#: Least characters that a name keeps in a narrow terminal.
LEAST_NAME = 8
WEAKEST = 1
FUSED = 3
TROUBLES = {"full": "DISK FULL", "failing": "FAILING", "away": "AWAY"}
_LABEL = 11
_BAR = 40
PARTS = ("stored", "filtered", "late", "shed", "rejected")


class Span(NamedTuple):
    """A piece of text.  mood: "", "strong", "faint", "good", "warning" or "bad"."""

    text: str
    mood: str = ""
    name: bool = False  # its middle may be left out where a line is too long


Line = Sequence[Span]


def as_text(status: Status, width: int | None = None) -> str:
    """The whole status without colour, in *width* columns where given."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in status_lines(status, width=width))


def status_lines(status: Status, rates: Iterable[float] = (), *, width: int | None = None, height: int | None = None) -> list[Line]:
    """The whole status.  rates: readings per second, oldest first, for the chart.

    Names are elided where *width* asks for it; the newest alerts take what is left of *height*.
    """
    sections = (_head(status), _warnings(status), _flow(status, rates), _disk(status), _redis(status), _fleet(status), _blocks(status),
                _ledger(status["ledger"]), _sources(status), _plugins(status))  # fmt: skip
    lines = [line for section in sections if section for line in (*section, ())]
    room = ALERTS if height is None else min(MOST_ALERTS, height - len(lines))
    lines = [*lines, *_alerts(status, max(0, room))]
    lines = lines if lines[-1] else lines[:-1]
    return lines if width is None else [fitted(line, width) for line in lines]


def fitted(line: Line, width: int) -> Line:
    """The line in *width* columns: the longest names give way first, and if that is not enough, its end."""
    spans = list(line)
    while (over := sum(len(span.text) for span in spans) - width) > 0:
        place = max(range(len(spans)), key=lambda at: len(spans[at].text) if spans[at].name else 0)
        longest = spans[place]
        if not longest.name or len(longest.text) <= LEAST_NAME:
            return _cut(spans, width)
        spans[place] = longest._replace(text=elided(longest.text, max(LEAST_NAME, len(longest.text) - over)))
    return spans


def _cut(spans: list[Span], width: int) -> Line:
    left, cut = width - 1, []
    for span in spans:
        cut.append(span._replace(text=span.text[:left]))
        left -= len(cut[-1].text)
    return [*cut, Span("…")]


def one_line(status: Status) -> str:
    """The most important figures in one line."""
    blocks = status["blocks"]
    return (
        f"{status['readings']['per_s']:,.0f} readings/s, {status['messages']['per_s']:,.0f} messages/s,"
        f" {counted(status['alerts']['since_start'], 'alert')} since start; {blocks['live']:,} of {blocks['total']:,} blocks live,"
        f" fitness {blocks['fitness_mean']:.2f}; load {status['load']:.0%}, RSS {amount(status['rss_bytes'])},"
        f" commit p99 {status['commit']['p99_ms']:.1f} ms; {ledger_line(status['ledger'])}{_disk_word(status)}"
    )


def _disk_word(status: Status) -> str:
    state = status.get("disk", {}).get("state", "ok")
    return "" if state == "ok" else f"; {TROUBLES[state]} since {clock(status['disk']['since'])} UTC"


def ledger_line(ledger: Mapping[str, int]) -> str:
    """The ledger as `7 in = 2 stored + 5 filtered + 0 late + 0 shed + 0 rejected`, and the difference where it does not add up."""
    total = sum(ledger.get(part, 0) for part in PARTS)
    off = ledger.get("in", 0) - total
    sign = "=" if off == 0 else "!="
    text = f"{ledger.get('in', 0):,} in {sign} " + " + ".join(f"{ledger.get(part, 0):,} {part}" for part in PARTS)
    return text if off == 0 else f"{text}: {abs(off):,} {'missing' if off > 0 else 'too many'}"


def alert_text(alert: Mapping[str, Any]) -> str:
    """An alert as one line, such as `cpu0.load high: 98.2 %, limit 95 %`."""
    return f"{_alert_name(alert)} {_alert_what(alert)}"


def _alert_name(alert: Mapping[str, Any]) -> str:
    return alert["block"] if alert["kind"] == "anomaly" else alert["name"] or str(alert["entity"])


def _alert_what(alert: Mapping[str, Any]) -> str:
    if alert["kind"] == "anomaly":
        return f"anomaly: score {alert['valor']:.1f}, above {alert['limit']:.1f}"
    unit = f" {alert['unit']}" if alert.get("unit") else ""
    if alert["kind"] in ("high", "low"):
        return f"{alert['kind']}: {alert['valor']:.6g}{unit}, limit {alert['limit']:.6g}{unit}"
    return {"silence": "silent", "failure": "failed twice, restarted"}.get(alert["kind"], alert["kind"])


def chart(values: Iterable[float], width: int = 20) -> str:
    """The newest *width* values as bars, scaled from 0 to the largest."""
    newest = list(values)[-width:]
    top = max(newest, default=0.0)
    if top <= 0:
        return BARS[0] * len(newest)
    return "".join(BARS[min(len(BARS) - 1, int(value / top * len(BARS)))] for value in newest)


def _labelled(label: str, *spans: Span | str) -> Line:
    return (Span(f"{label:<{_LABEL}}", "faint"), *(Span(span) if isinstance(span, str) else span for span in spans))


def _head(status: Status) -> list[Line]:
    state = status["state"]
    where = f"load {status['load']:.0%}   RSS {amount(status['rss_bytes'])}   {status['simd']}   pid {status['pid']}"
    return [
        (Span("CoreC ", "strong"), Span(status["instance_id"], "strong", name=True), Span(f" {status['version']}   "),
         Span(state, "good" if state == "running" else "warning"), Span(f" for {duration(status['uptime_s'])}")),
        _labelled("", where),
    ]  # fmt: skip


def _flow(status: Status, rates: Iterable[float]) -> list[Line]:
    readings, messages, alerts = status["readings"], status["messages"], status["alerts"]
    share = messages["per_s"] / readings["per_s"] if readings["per_s"] else 0.0
    return [
        _labelled("", Span(f"{'a second':>10}{'since start':>15}{'in all':>17}", "faint")),
        _labelled("readings", _counts(readings), Span(chart(rates), "good")),
        _labelled("messages", _counts(messages), f"{share:.1%} of the readings" if share else ""),
        _labelled("alerts", _counts(alerts), *_muted(alerts)),
    ]


def _muted(alerts: Mapping[str, Any]) -> list[str]:
    mutes = alerts.get("mutes", [])
    said = [f"{alerts[name]:,} {name}" for name in ("provisional", "muted") if alerts.get(name)]
    return [", ".join([*said, *([f"{counted(len(mutes), 'mute')} in force"] if mutes else [])])]


def _counts(flow: Mapping[str, float]) -> str:
    per_s, total = flow["per_s"], flow.get("total")
    rate = f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"
    return f"{rate:>10}{flow['since_start']:>15,}{'' if total is None else f'{total:,}':>17}  "


def _warnings(status: Status) -> list[Line]:
    """Lines about problems that stop the node's work."""
    met = status.get("disk", {}).get("met", {})
    lines = [
        _labelled(name, Span(f"{TROUBLES[found['state']]} since {iso(found['since'])[:-4]} UTC: {found['text']}", "bad"))
        for name, found in met.items()
    ]
    if waits := status.get("clock", {}).get("waits"):
        what = "goes on though readings may wait" if waits["goes_on"] else "stands still while nothing comes"
        lines.append(_labelled("time", Span(f"{what}: {waits['why']}", "warning")))
    ahead = status.get("clock", {}).get("ahead")
    return [*lines, *(_labelled("" if place else "clock", Span(text, "bad")) for place, text in enumerate((ahead or "").splitlines()))]


def _disk(status: Status) -> list[Line]:
    commit, journal, snapshots = status["commit"], status["journal"], status["snapshots"]
    return [
        _labelled("commits", f"p50 {commit['p50_ms']:.1f} ms, p99 {commit['p99_ms']:.1f} ms;",
                  f" at turn {commit['turns']:,}; {counted(commit['rows_since_start'], 'row')} since start"),
        _labelled("journal", f"sync p50 {journal['sync_p50_ms']:.1f} ms, p99 {journal['sync_p99_ms']:.1f} ms;",
                  f" {amount(journal['bytes'])}, {counted(journal['pending'], 'batch')} pending"),
        _labelled("store", f"{_store(status['store'])}; {counted(snapshots['count'], 'snapshot')},"
                  f" {amount(snapshots['bytes'])}",
                  f"; the last took {snapshots['last_ms']:.0f} ms" if snapshots["since_start"] else ""),
        *_flash(status.get("flash")),
    ]  # fmt: skip


def _flash(flash: Mapping[str, Any] | None) -> list[Line]:
    """A line about the flash budget: what of it is written, and how much rarer commits are."""
    if not flash or not flash["cap_bytes_per_day"]:
        return []
    over = flash["written_bytes"] > flash["allowed_bytes"]
    use = Span(f"{amount(flash['written_bytes'])} written of {amount(flash['allowed_bytes'])} until midnight UTC", "bad" if over else "")
    return [_labelled("flash", use, f"; commits {flash['stretch']:.1f} times rarer" if flash["stretch"] > 1 else "")]


def _redis(status: Status) -> list[Line]:
    """Lines about Redis, with the figures of the original documentation beside."""
    redis = status.get("redis")
    if not redis:
        return []
    state = Span(redis["problem"] or f"at {redis['address']}", "bad" if redis["problem"] else "")
    tail = f"tail {redis['tail']['waiting']:,} waiting, {redis['tail']['kept']:,} kept"
    lines = [_labelled("redis", state)]
    if "ram_bytes" in redis:  # else others read what this node sends there
        use = f"RAM {amount(redis['ram_bytes'])} (50-100 MB), {redis['bytes_per_s'] / 1e6:.2f} MB/s (0.2-0.3 MB/s)"
        waiting, entries, size = (sum(stream[key] for stream in redis["streams"]) for key in ("waiting", "entries", "bytes"))
        lines += [_labelled("", use)]
        tail = f"streams {entries:,} entries in {amount(size)}, {waiting:,} read ahead; {tail}"
    return [*lines, _labelled("", tail), *(_labelled("", Span(f"LOST {loss}", "bad")) for loss in redis["lost"][-1:])]


def _fleet(status: Status) -> list[Line]:
    """Lines about the workers and how many shards each has."""
    fleet = status.get("fleet")
    if not fleet:
        return []
    held = sum(len(worker["shards"]) for worker in fleet["workers"])
    role = "leads" if fleet["leads"] else "stands by"
    mood = "" if held == fleet["shards"] else "warning"
    lines = [_labelled("fleet", Span(f"{held} of {fleet['shards']} shards folded by {counted(len(fleet['workers']), 'worker')}", mood),
                       f"; this node {role}")]  # fmt: skip
    if fleet["problem"]:
        lines.append(_labelled("", Span(fleet["problem"], "bad")))
    return lines + [_worker(worker) for worker in fleet["workers"]]


def _worker(worker: Mapping[str, Any]) -> Line:
    shards = ", ".join(map(str, worker["shards"])) or "none"
    done = f"{counted(worker['readings'], 'reading')}, {counted(worker['rows'], 'row')} since it began"
    return _labelled("", Span(worker["name"], name=True), f": shards {shards}; {done}")


def _store(store: Mapping[str, Any]) -> str:
    return f"PostgreSQL at {store['where']}" if store.get("kind") == "postgresql" else amount(store["bytes"])


def _blocks(status: Status) -> list[Line]:
    blocks = status["blocks"]
    states = (("live", "█", "good"), ("idle", "▓", "warning"), ("hibernated", "▒", ""), ("never", "░", "faint"))
    cells = _shares([blocks[state] for state, _, _ in states], _BAR)
    bar = [Span(mark * count, mood) for (_, mark, mood), count in zip(states, cells, strict=True)]
    words = [Span(f"{blocks[state]:,} {state}   ", mood) for state, _, mood in states]
    lines = [_labelled("blocks", *bar, f"  {blocks['total']:,}"), _labelled("", *words)]
    fitness = [Span(f"mean {blocks['fitness_mean']:.2f}, lowest {blocks['fitness_min']:.2f}")]
    for block in blocks["weakest"][:WEAKEST]:
        failing = f": {block['failing']:,} of {block['entities']:,} failing"
        fitness += [Span(f"   {block['id']}", "warning", name=True), Span(failing, "warning")]
    return [*lines, _labelled("fitness", *fitness), *_fused(blocks.get("fused", {}))]


def _fused(fused: Mapping[str, str]) -> list[Line]:
    named = [f"{block} into {host}" for block, host in fused.items()]
    more = [f"and {len(named) - FUSED} more"] if len(named) > FUSED else []
    return [_labelled("fused", Span(", ".join([*named[:FUSED], *more]), name=True))] if named else []


def _shares(counts: Sequence[int], cells: int) -> list[int]:
    """*cells* divided in proportion to *counts*; each count above 0 gets one at least."""
    total = sum(counts) or 1
    shared = [max(1, round(count * cells / total)) if count else 0 for count in counts]
    largest = shared.index(max(shared))
    shared[largest] = max(0, shared[largest] + (cells - sum(shared) if any(counts) else 0))
    return shared


def _ledger(ledger: Mapping[str, int]) -> list[Line]:
    before, _, after = ledger_line(ledger).partition(" in ")
    balances = after.startswith("=")
    lines = [
        _labelled(
            "ledger",
            f"{before} in all: ",
            Span("balances" if balances else "DOES NOT BALANCE", "good" if balances else "bad"),
        ),
        (Span(after, "" if balances else "bad"),),
    ]
    causes = [
        f"{count:,} {key.removeprefix('rejected_')}"
        for key, count in ledger.items()
        if key.startswith("rejected_") and count
    ]
    return [*lines, (Span("rejected: " + ", ".join(causes), "warning"),)] if causes else lines


def _sources(status: Status) -> list[Line]:
    return [
        _labelled(
            "source",
            f"{source['name']}: {counted(source['entities'], 'sensor')}, {source['per_s']:,.0f}/s; ",
            Span(source["detail"], name=True),
        )
        for source in status["sources"]
    ]


def _plugins(status: Status) -> list[Line]:
    """Lines about plugins that do not run; `corec status --plugins` shows all."""
    missing = [plugin for plugin in status.get("plugins", ()) if plugin["state"] != "running"]
    return [_labelled("plugin", Span(f"{plugin['name']} {plugin['state']}", "warning"), f"; {plugin['detail']}") for plugin in missing]


def _alerts(status: Status, most: int) -> list[Line]:
    recent = status["alerts"]["recent"]
    return [
        _labelled(
            "" if place else "recent",
            Span(f"{clock(alert['time'])} UTC  ", "faint"),
            Span(_alert_name(alert), _mood(alert), name=True),
            Span(f" {_alert_what(alert)}", _mood(alert)),
        )
        for place, alert in enumerate(reversed(recent[len(recent) - min(most, len(recent)) :]))
    ]


def _mood(alert: Mapping[str, Any]) -> str:
    return "bad" if alert["kind"] in ("high", "low") and math.isfinite(alert["valor"]) else "warning"
