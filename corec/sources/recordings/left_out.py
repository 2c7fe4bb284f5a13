"""What was not read of a recording: rows and cells, by cause."""

from collections import Counter

from corec.common.text import counted
from corec.sources.recordings.cells import few

#: Sensors that are named, of those that belong to no entity.
MOST_NAMED = 100
#: Sensors whose failures are counted apart.
MOST_SENSORS = 100_000
#: Columns of which lost steps are noted.
STEPS_NAMED = 6
#: Share of lost steps from which they are noted.
LOST_SHARE = 0.1


class LeftOut:
    """Counts, and the first of each cause with its place."""

    noun = "column"  # what has a name: "sensor" in a long file

    def __init__(self) -> None:
        self.rows = self.cells = self.texts = self.empty_cells = self.gap_words = 0  # cells: of columns and sensors without an entity
        self._failures, self._steps, self._lost = Counter[str](), Counter[str](), Counter[str]()
        self._causes: dict[str, tuple[int, str]] = {}
        self._first = self._gap_word = ""
        self._sensors: dict[str, str] = {}  # name -> why it has no entity
        self.said: set[str] = set()  # names of which the user knows why they have no entity
        self._of_text: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self.rows or self.cells)

    def row(self, line: int, cause: str, text: str) -> None:
        """Count a row.  cause: one of a few.  text: what is wrong with this one."""
        self.rows += 1
        count, first = self._causes.get(cause, (0, f"line {line:,}: {text}"))
        self._causes[cause] = count + 1, first
        self._first = self._first or f"line {line:,}: {text}"

    def sensor(self, name: str, why: str) -> None:
        """Count a cell of a column, or of a sensor of a long file, that belongs to no entity."""
        self.cells += 1
        if len(self._sensors) < MOST_NAMED:
            self._sensors.setdefault(name, why)

    def text(self, name: str) -> None:
        """Count a cell of text of a sensor of a long file that had no number so far."""
        self.texts += 1
        if len(self._of_text) < MOST_NAMED:
            self._of_text.setdefault(name)

    def failure(self, name: str) -> None:
        """Count a cell of a sensor that has text in it: it is read, as a failed reading."""
        if name in self._failures or len(self._failures) < MOST_SENSORS:
            self._failures[name] += 1
        else:
            self._failures["others"] += 1

    def steps(self, name: str, count: int, lost: int) -> None:
        """Count steps from value to value of a column, and those that are lost in 32 bits."""
        self._steps[name] += count
        self._lost[name] += lost

    def gap(self, word: str) -> None:
        """Count a cell without a value.  word: what it says instead, for the user; '' for nothing."""
        if word:
            self.gap_words += 1
            self._gap_word = self._gap_word or word
        else:
            self.empty_cells += 1

    def notes(self) -> list[str]:
        """A line for each kind of what was left out."""
        notes = []
        if self._failures:
            worst = self._failures.most_common(1)[0][0]
            notes.append(f"{counted(self._failures.total(), 'cell')} of text counted as failed readings, most in {self.noun} {worst}")
        for name, lost in self._lost.most_common(STEPS_NAMED):
            if lost > LOST_SHARE * self._steps[name]:
                steps = f"{counted(lost, 'step')} of {self._steps[name]:,}"
                notes.append(f"column {name}: {steps} lost, for a reading keeps 24 bits, about 7 digits")
        if self.gap_words:
            notes.append(f"{counted(self.gap_words, 'cell')} with a word for no value skipped, the first: {self._gap_word}")
        if self.empty_cells:
            notes.append(f"{counted(self.empty_cells, 'empty cell')} skipped")
        if self.rows:
            notes.append(f"{counted(self.rows, 'row')} left out, the first at {self._first}")
        if len(self._causes) > 1:
            notes += [f"  {counted(count, 'row')} {cause}, the first at {first}" for cause, (count, first) in self._causes.items()]
        if self.texts:
            notes.append(f"{counted(self.texts, 'cell')} of text left out, of sensors without a number: {few(self._of_text)}")
        if self.cells:
            said = few(name for name in self._sensors if name in self.said)
            notes.append(f"{counted(self.cells, 'cell')} left out, of {self.noun}s without an entity" + f": {said}" * bool(said))
            by_cause: dict[str, list[str]] = {}
            for name, why in self._sensors.items():
                if name not in self.said:
                    by_cause.setdefault(why, []).append(name)
            notes += [f"  {few(names)}: {why}" for why, names in by_cause.items()]
            notes += ["  and others"] * (len(self._sensors) == MOST_NAMED)
        return notes
