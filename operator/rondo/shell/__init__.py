"""kopf handlers, settings, probes and the composition root."""
