"""raftline as a backend of dogpile.cache: `make_region().configure("dogpile.cache.raftline")`."""
