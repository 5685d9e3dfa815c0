"""FiLo (Gu et al., ACM MM 2024): anomalies named by fine-grained descriptions, and placed by a trained head.

Fine-grained descriptions are `prompts`, `context` and `text`; high-quality localisation is `vision`, `decoders`, `maps`
and `grounding`. `head` holds all that is trained, and `filo` is the way from frames to inspections.
"""
