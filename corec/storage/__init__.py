"""Where results and offsets are committed: `base` says what a store is, `sqlite` is the embedded one."""
