"""Rows of a CSV as batches of readings."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from corec.sources.base import Batch
from corec.sources.recordings.cells import Cells, few, is_gap, read_number, shown
from corec.sources.recordings.columns import NUMBERLESS, Entities, Entity
from corec.sources.recordings.left_out import LeftOut
from corec.sources.recordings.shape import Shape, Value


class Part(NamedTuple):
    """Rows behind one header."""

    shape: Shape
    entities: list[Entity]  # of the columns of values; none in a long file


class Row(NamedTuple):
    time: int  # ms
    cells: Cells
    part: Part
    line: int


class CsvBatches:
    """Reads the cells of rows. What is no reading is counted in *left*."""

    def __init__(self, entities: Entities, decimal: str, decimals: Mapping[str, str], left: LeftOut) -> None:
        """decimal: the mark of the file, "." or ","; decimals: those of columns that show one, by name."""
        self._entities, self._decimal, self._decimals, self._left = entities, decimal, decimals, left

    def batch(self, rows: list[Row]) -> Batch:
        """The readings of rows of one part, in their order."""
        shape, time = rows[0].part.shape, rows[0].time
        size = len(rows), len(shape.values)
        table, there = np.empty(size), np.ones(size, bool)
        ids, canales = np.zeros(size, np.uint32), np.zeros(size, np.int8)
        for row in rows if shape.keys else ():
            if not shape.sensor(row.cells, shape.values[0]):
                why = f"expected the name of a sensor in {few(shape.key_names)}, got nothing"
                self._left.row(row.line, "without the name of a sensor", why)
        for number, value in enumerate(shape.values):
            names = [shape.sensor(row.cells, value) for row in rows] if shape.keys else [value.name]
            cells = [row.cells[value.index] for row in rows]
            decimal = self._decimals.get(value.name, self._decimal)
            self._read_column(cells, names, decimal, table[:, number], there[:, number])
            entities = self._sensors(names, value, table[:, number]) if shape.keys else [rows[0].part.entities[number]]
            there[:, number] &= self._found(cells, names, entities, table[:, number])
            ids[:, number], canales[:, number] = [max(0, entity.id) for entity in entities], [entity.canal for entity in entities]
        row, column = np.nonzero(there)
        offsets = np.array([one.time - time for one in rows], np.int64).astype(np.int32)
        with np.errstate(over="ignore"):  # too large for a frame is infinite, and that is a failure
            valores = table[row, column].astype(np.float32)
        return Batch(ids[row, column], canales[row, column], valores, True, time, offsets[row])

    def _sensors(self, names: list[str], value: Value, values: np.ndarray) -> list[Entity]:
        """The entity of each row of a long file. A name gets a new one with its first number."""
        numbers = {name for name, number in zip(names, values) if np.isfinite(number)}
        return self._entities.find([(name, value.unit) for name in names], new=numbers)

    def _found(self, cells: list[str], names: list[str], entities: list[Entity], values: np.ndarray) -> list[bool]:
        """Whether each cell belongs to an entity. Those that do not are counted, and failed readings."""
        every = len(cells) // len(entities)
        if not np.isfinite(values).all() or not all(entity.found for entity in entities):
            for index, cell in enumerate(cells):
                entity, name = entities[index // every], names[index // every]
                if is_gap(cell):
                    continue
                if entity is NUMBERLESS:
                    self._left.text(name)
                elif not entity.found and name:
                    self._left.sensor(name, entity.how)
                elif not np.isfinite(values[index]):
                    self._left.failure(name)
        return [entity.found for entity in entities]

    def _read_column(self, cells: list[str], names: list[str], decimal: str, values: np.ndarray, there: np.ndarray) -> None:
        joined = "".join(cells)
        try:
            if "_" in joined or decimal == "," and "." in joined:
                raise ValueError("not as Python writes numbers")
            values[:] = [float(cell) for cell in cells] if decimal == "." else [float(cell.replace(",", ".")) for cell in cells]
            if np.isfinite(values).all():  # mostly all of them are numbers
                self._note_steps(names, values)
                return
        except ValueError:
            pass
        for row, cell in enumerate(cells):
            values[row], there[row] = self._read_cell(cell, decimal)

    def _note_steps(self, names: list[str], values: np.ndarray) -> None:
        """Count the steps of a column that the 32 bits of a frame do not hold: those of a large counter."""
        if len(names) == 1:
            steps = np.diff(values) != 0
            with np.errstate(over="ignore", invalid="ignore"):
                kept = np.diff(values.astype(np.float32)) != 0
            self._left.steps(names[0], int(steps.sum()), int((steps & ~kept).sum()))

    def _read_cell(self, cell: str, decimal: str) -> tuple[float, bool]:
        """(the number, NaN where there is none; whether the cell is a reading at all)."""
        try:
            value = read_number(cell, decimal)
        except ValueError:
            return np.nan, True
        if value is None:
            self._left.gap(shown(cell.strip()) if cell.strip() else "")
            return np.nan, False
        return value, True
