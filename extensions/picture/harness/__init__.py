"""The part of the harness for the picture: steps judged, collected, drawn and recorded; the lab."""
