"""How much memory a process may have, by the machine and by control groups of both versions."""
import pytest

from corec.common.machine_memory import MemoryBound, memory_bound
from corec.common.units import MB
from corec.config import parse
from corec.config.ram_price import admit, require_memory
from corec.errors import CapacityError

MEMINFO = "MemTotal:        1024000 kB\nMemFree:          1000 kB\n"


def bound_of(tmp_path, group, limits, meminfo=MEMINFO):
    """The bound with these contents of /proc and limits by their path in the mount of control groups."""
    (tmp_path / "meminfo").write_text(meminfo)
    (tmp_path / "group").write_text(group)
    for name, text in limits.items():
        file = tmp_path / "mount" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return memory_bound(tmp_path / "meminfo", tmp_path / "group", tmp_path / "mount")


@pytest.mark.parametrize(("group", "limits", "expected"), [
    ("0::/\n", {}, MemoryBound(1_048_576_000, "this machine")),
    ("0::/a/b\n", {"a/b/memory.max": "max\n"}, MemoryBound(1_048_576_000, "this machine")),
    ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "5000000\n"}, MemoryBound(5_000_000, "its control group")),
    ("0::/a/b\n", {"a/b/memory.max": "4000000\n", "a/memory.max": "5000000\n"}, MemoryBound(4_000_000, "its control group")),
    ("0::/\n", {"memory.max": "3000000\n"}, MemoryBound(3_000_000, "its control group")),
    ("5:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": "6000000\n"}, MemoryBound(6_000_000, "its control group")),
    ("5:memory:/x\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MemoryBound(1_048_576_000, "this machine")),
    ("odd\n::\n0::/../..\n", {}, MemoryBound(1_048_576_000, "this machine")),
])  # fmt: skip
def test_the_smallest_bound_counts(tmp_path, group, limits, expected):
    assert bound_of(tmp_path, group, limits) == expected


def test_system_that_says_nothing_bounds_nothing(tmp_path):
    assert memory_bound(tmp_path / "a", tmp_path / "b", tmp_path / "c") is None
    require_memory(admit(parse({"bloques": [{"id": "a", "canal": 1, "entidades": 1000}]})), None)


def test_bill_above_what_there_is_is_refused_with_the_bill():
    bill = admit(parse({"max_ram_mb": 1000, "bloques": [{"id": "a", "canal": 1, "entidades": 10_000_000}]}))
    with pytest.raises(CapacityError, match="the 256.0 MB of RAM that its control group has") as caught:
        require_memory(bill, MemoryBound(256 * MB, "its control group"))
    assert "10,000 blocks" in caught.value.detail and caught.value.hint
    require_memory(bill, MemoryBound(1000 * MB, "this machine"))
