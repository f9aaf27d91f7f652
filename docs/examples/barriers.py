"""Programs that wait for each other."""

import threading

import raftline

with raftline.connect() as kv:
    gate = kv.barrier("upgrade")
    gate.close()
    print(gate.wait(timeout=0))
    print(gate.open(), gate.wait())

    def work() -> None:
        step = kv.double_barrier("step", 2)
        if held := step.enter():  # once both are here
            held.leave()  # once both are done

    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()
    print(kv.double_barrier("step", 2).enter(timeout=0.5))
