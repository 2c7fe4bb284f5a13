"""Where readings come from: this machine (`host`), made-up sensors (`simulated`), recordings (`replay`)."""
