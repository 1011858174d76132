"""The usual way to take events in: Django REST framework, a token in the database, one ORM insert per event.

Only for comparison (benchmarks/ingest.py): nothing of the product imports it.
"""
