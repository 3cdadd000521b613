"""The live picture of ``watch``: a terminal, what is drawn on it, and what keys do."""
