"""Language models that write drafts: read from a directory, tuned on preferences, exported. Arrays and texts, no Django.

Needs the extra `enso[llm]` (transformers, peft, onnxscript); `base.missing` says so where it is absent.
"""
