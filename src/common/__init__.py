"""What all programs share: configuration, arguments, console, signals. Imports no other room."""
