"""`corec status --plugins`: what each plugin costs, beside the documented figures for one."""

from collections.abc import Mapping, Sequence
from typing import Any

from corec.cli.output.table import Table, columns
from corec.common.text import amount

HEADER = ("plugin", "state", "passes", "failures", "RAM", "CPU", "in/s", "out/s", "dropped")
TO_THE_LEFT = ("plugin", "state")
KB = 1024


def plugins_text(plugins: Sequence[Mapping[str, Any]]) -> str:
    """A row for each plugin, the targets below, then the problem of each plugin that does not run."""
    if not plugins:
        return "no plugins"
    lines = columns(Table(HEADER, [*map(_row, plugins), *_targets(plugins)], TO_THE_LEFT))
    lines += [f"{plugin['name']}: {plugin['detail']}" for plugin in plugins if plugin["detail"] not in ("running", "starting")]
    if any(plugin.get("isolated") for plugin in plugins):
        lines.append("* in a process of its own: RAM and CPU are those of the whole process")
    return "\n".join(lines)


def _row(plugin: Mapping[str, Any]) -> tuple[str, ...]:
    name = plugin["name"] + ("*" if plugin.get("isolated") else "")
    if "passes" not in plugin:
        return (name, plugin["state"], *("-" for _ in HEADER[2:]))
    ram = "-" if plugin["ram_bytes"] is None else amount(plugin["ram_bytes"])
    return (name, plugin["state"], f"{plugin['passes']:,}", f"{plugin['failures']:,}", ram, f"{plugin['cpu_share']:.4%}",
            amount(plugin["bytes_in_s"]), amount(plugin["bytes_out_s"]), f"{plugin['dropped'] + plugin['dropped_passes']:,}")  # fmt: skip


def _targets(plugins: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row with the targets, as the node's status has them; no row without."""
    found = next((plugin["targets"] for plugin in plugins if "targets" in plugin), None)
    if found is None:
        return []
    low, high = found["ram_kb"]
    least, most = found["cpu_percent"]
    return [("target", "", "", "", f"{low}-{high} KB", f"{least:g}-{most:g}%", "", amount(found["mb_s"] * KB * KB), "")]
