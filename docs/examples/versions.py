"""A number that several programs change, each only if nothing has changed since its read."""

import raftline

with raftline.connect() as kv:
    kv.set("stock", "12")
    stock = kv.read("stock")
    while not kv.cas("stock", stock, str(int(stock.value or 0) - 1)):
        stock = kv.read("stock")  # another program has changed it
    print(stock.value, "->", kv["stock"])
