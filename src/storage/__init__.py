"""The bytes of NAME.log and NAME.storage: their writing, and their checks after a crash."""
