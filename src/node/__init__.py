"""The consensus core at work: who steps it, what waits, what is written, when it is answered."""
