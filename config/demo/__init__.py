"""The story that `make demo` tells: sample customers, annotators and a lead, each a process of its own that talks HTTP."""
