"""The demo: from nothing to a prediction of a model that was trained and deployed in pods, on a real cluster.

`python -m demo up` and `python -m demo down`, or `make demo` and `make demo-down`. It only runs commands that a person
could type, prints them before it does, and does again only what has changed.
"""
