"""corec._core.layout.h, layout.pxd and dtypes.py agree on structs and constants."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from corec._core import block, dtypes, wire
from corec._core.arena import Arena, struct_sizes

CORE = Path(dtypes.__file__).parent
COMPILER = shutil.which(os.environ.get("CC", "cc"))

#: dtype -> (struct in layout.h, names there that differ)
STRUCTS = {
    "TILE": ("Tile", {}),
    "SEGMENT": ("Segment", {}),
    "WINDOW": ("Window", {}),
    "BLOCK": ("Block", {}),
    "BLOCK_SCORE": ("BlockScore", {}),
    "POLICY": ("Policy", {}),
    "FUNCTION": ("Function", {}),
    "RANGE": ("Range", {}),
    "LEDGER": ("Ledger", {}),
    "AGGREGATE": ("Row", {}),
    "MESSAGE": ("Message", {}),
    "ALERT": ("Alert", {}),
}

#: Constants whose twin stands elsewhere, or has a name that the rule of dtypes.py does not give.
ELSEWHERE = {"CC_FRAME": wire.FRAME_BYTES, "CC_DONE": block.DONE, "CC_ATTENTION": block.ATTENTION, "CC_ROOM": block.ROOM,
             "CC_EVENTS": block.EVENTS}
QUALITIES = ("NEVER", "GOOD", "WARMING", "HIGH", "LOW", "NOT_FINITE", "DECLARED", "SILENT", "REPAIRED")

#: What a member's C type is in NumPy's one-letter kinds, by size: tells a float from an integer.
PROBE = r"""
#include "layout.h"
#include <stdio.h>
#define IS_FLOAT(x) _Generic((x), float: 1, double: 1, float *: 1, double *: 1, default: 0)
#define SIGNED(x) _Generic((x), int8_t: 1, int64_t: 1, int32_t: 1, default: 0)
#define FIELD(s, f) printf("%s %s %zu %zu %d %d\n", #s, #f, offsetof(s, f), sizeof(((s *)0)->f), \
    IS_FLOAT(((s *)0)->f), SIGNED(((s *)0)->f));
int main(void) {
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """struct -> field -> (offset, size, is a float, is signed), as the C compiler has it; struct -> size under ''."""
    if not COMPILER:
        pytest.skip("no C compiler here; the build needs one, the tests of an installed wheel do not")
    folder = tmp_path_factory.mktemp("layout")
    fields = [f"FIELD({struct}, {name})" for key, (struct, _) in STRUCTS.items() for name in getattr(dtypes, key).names]
    sizes = [f'printf("%s . %zu 0 0 0\\n", "{struct}", sizeof({struct}));' for struct, _ in STRUCTS.values()]
    (folder / "probe.c").write_text(PROBE + "\n".join(fields + sizes) + "\nreturn 0; }\n")
    subprocess.run([COMPILER, f"-I{CORE}", "-o", folder / "probe", folder / "probe.c"], check=True)
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for line in subprocess.run([folder / "probe"], check=True, capture_output=True, text=True).stdout.splitlines():
        struct, field, *numbers = line.split()
        found.setdefault(struct, {})[field] = tuple(map(int, numbers))
    return found


@pytest.mark.parametrize("key", STRUCTS)
def test_dtype_is_the_struct_field_by_field(layout, key):
    # Given a dtype and the struct it stands for
    dtype, members = getattr(dtypes, key), layout[STRUCTS[key][0]]
    # Then every field has the offset, the width and the kind of number that C gives it
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        kind = field.base.kind
        # `(f, signed)` cannot be told of an array or a nested struct: their width and place say enough
        scalar = field.shape == () and field.names is None and name not in ("ids", "low", "high")
        expected = (offset, field.itemsize, int(kind == "f"), int(kind == "i"))
        assert members[name][:2] == expected[:2], f"{key}.{name}"
        assert not scalar or kind == "b" or members[name] == expected, f"{key}.{name}"
    assert members["."][0] == dtype.itemsize, key


@pytest.mark.parametrize(("key", "size"), struct_sizes().items())
def test_sizes_in_the_built_extension_are_the_dtypes(key, size):
    assert getattr(dtypes, key).itemsize == size


def test_entity_costs_32_bytes():
    # Given the tile of eight entities, then an entity is 32 bytes, and a slab is whole pages of 4 and of 16 KiB
    assert dtypes.TILE.itemsize == 8 * 32
    assert 128 * dtypes.TILE.itemsize % 16384 == 0


@pytest.mark.parametrize("kind", ["AGGREGATE", "MESSAGE", "ALERT"])
def test_rows_are_packed(kind):
    # Given an outcome's dtype, then it has no holes: its bytes are its contents
    dtype = getattr(dtypes, kind)
    assert dtype.itemsize == sum(dtype.fields[name][0].itemsize for name in dtype.names)


def test_pxd_names_every_member_of_the_header():
    # Given the C header and its twin for Cython
    header, twin = (CORE / "layout.h").read_text(), (CORE / "layout.pxd").read_text()
    # Then neither has a name of a struct that the other lacks
    for struct in ("Tile", "Segment", "Window", "Block", "Policy", "Function", "Range", "Device", "Ledger", "Message", "Alert",
                   "Row", "Sink", "Core", "Batch", "Progress"):  # fmt: skip
        assert members_in_c(header, struct) == members_in_pxd(twin, struct), struct


def test_every_constant_of_the_header_has_its_twins(tmp_path):
    if not COMPILER:
        pytest.skip("no C compiler here")
    # Given the constants of the header, with the values that C gives them
    constants = sorted(set(re.findall(r"\bCC_[A-Z_]*[A-Z]\b", without_comments((CORE / "layout.h").read_text()))))
    lines = "\n".join(f'printf("%u\\n", (unsigned){name});' for name in constants)
    (tmp_path / "probe.c").write_text(f'#include "layout.h"\n#include <stdio.h>\nint main(void) {{\n{lines}\nreturn 0; }}\n')
    subprocess.run([COMPILER, f"-I{CORE}", "-o", tmp_path / "probe", tmp_path / "probe.c"], check=True)
    values = map(int, subprocess.run([tmp_path / "probe"], check=True, capture_output=True, text=True).stdout.split())
    in_c = dict(zip(constants, values, strict=True))
    # Then Python has each with the same value, and Cython each by name
    assert {name: twin_in_python(name) for name in constants} == in_c
    in_cython = set(re.findall(r"\bCC_[A-Z_]*[A-Z]\b", re.sub(r"#.*", "", (CORE / "layout.pxd").read_text())))
    assert in_cython == set(constants)


def twin_in_python(name):
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    short = name.removeprefix("CC_")
    if short in QUALITIES:
        short = f"QUALITY_{short}"
    return getattr(dtypes, re.sub("^SEG_", "SEGMENT_", re.sub("^FN_", "FUNCTION_", short)), None)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def members_in_c(text, struct):
    body = without_comments(text).partition(f"}} {struct};")[0].rpartition("typedef struct {")[2]
    return names(body.split(";"))


def members_in_pxd(text, struct):
    body = re.sub(r"#.*", "", text).partition(f"struct {struct}:\n")[2].partition("\n\n")[0]
    return names(body.splitlines())


def names(declarations):
    """The identifiers that declarations end in, without pointers and lengths."""
    declared = [re.search(r"(\w+)(?:\[\w+\])?$", part.strip()) for line in declarations for part in line.split(",")]
    return {found[1] for found in declared if found}


def test_views_are_the_memory_itself():
    # Given an arena and two views of its tiles
    arena = Arena(3, 1, 1)
    arena.segments["used"] = 1000
    one, other = arena.tiles, arena.tiles
    # When one is written to
    one[1, 2]["value"][3] = 42.0
    # Then the other shows it, and nothing was copied
    assert other[1, 2]["value"][3] == 42.0
    assert not one.flags.owndata
    assert np.count_nonzero(other["value"]) == 1


def test_view_outlives_its_arena():
    # Given a view whose arena nobody holds any more
    view = Arena(1, 1, 1).tiles
    # Then its memory is still there
    view["slow"] = 7.0
    assert (view["slow"] == 7.0).all()
