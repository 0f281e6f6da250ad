"""The kinds of the API as pydantic models: the one source of CRDs, reference and SDK."""
