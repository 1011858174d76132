"""The sample desk: texts generated from a grammar written for the project."""
