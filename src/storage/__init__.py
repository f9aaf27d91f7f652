"""The bytes of NAME.log and NAME.storage: writing them, and trusting them again after a crash."""
