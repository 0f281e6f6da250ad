"""`rondo graph`: how a graph of models is doing, and what it does with a request."""
