"""Pure decisions: snapshot in, plan out. No clock, no I/O, no logging, no randomness."""
