"""Sources of readings: this machine (`host`), simulated sensors (`simulated`), recordings (`replay`)."""
