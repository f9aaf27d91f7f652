"""Write a node's files (NAME.log, NAME.storage, NAME.state_machine), and check them after a
crash."""
