"""Sources of readings: this machine (`host`), simulated sensors (`simulated`), files of readings (`recordings`)."""
