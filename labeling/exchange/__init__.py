"""Import and export: one module per format, streamed both ways; an import is a job that continues where it was killed."""
