"""Learners that see data in experiences: what keeps old knowledge, and what it costs."""
