"""Where events come from: files and lake tables, read with positions."""
