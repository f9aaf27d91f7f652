"""The settings of a program, kept in the cluster: each change is there at once."""

import raftline

with raftline.connect() as kv:
    settings: dict[str, str] = {}
    for event in kv.watch("app/"):
        if event.value is None:
            settings.pop(event.key, None)
        else:
            settings[event.key] = event.value
        print(settings, flush=True)
