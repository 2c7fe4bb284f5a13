"""Numbers and names in sentences."""
from corec.common.units import DAY_S


def counted(count: int, noun: str) -> str:
    """`1 row`, `2,000 rows`, `3 batches`."""
    plural = noun[:-1] + "ies" if noun.endswith("ty") else noun + ("es" if noun.endswith("ch") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def elided(text: str, width: int) -> str:
    """*text* in at most *width* characters, its middle left out: `enjam…sor/979`."""
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - head - 1) :]}" if width > 1 else "…"[:width]


def printable(text: str) -> str:
    r"""*text* with its control characters and other unprintable ones as `\x1b`, `\u202e`; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")


def first_of(lines: list[str], most: int = 20) -> list[str]:
    """The first *most* lines; one more line counts the others."""
    return lines[:most] + ([f"... and {len(lines) - most} more"] if len(lines) > most else [])


def amount(count: float) -> str:
    """Bytes with the unit that keeps them short: `640 B`, `12.3 KB`, `1.2 GB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            break
        count /= 1024
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `5 h 03 min`, `12 d 04 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // DAY_S
    if hours < 1:
        return f"{minutes} min {int(seconds) % 60:02d} s"
    return f"{hours} h {minutes % 60:02d} min" if days < 1 else f"{days} d {hours % 24:02d} h"
