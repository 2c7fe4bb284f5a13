"""Where batches come from and go to: `base` says what a log is, `journal` is the embedded one."""
