"""Files of readings: CSVs in all dialects, and batches of frames (`.frames`). `replay.open_recording` opens each of them."""
