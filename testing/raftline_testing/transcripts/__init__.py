"""The player of transcripts, and how one is drawn."""
