"""A queue of jobs that acknowledges."""

import raftline

with raftline.connect() as kv:
    mails = kv.queue("mails", max_deliveries=3)
    mails.put("to ann")
    mails.put("to bob")
    with mails.take(ttl=30) as job:
        print(job.value, job.deliveries)
        job.done(kv.txn().then.set("sent/ann", "1"))
    with mails.take(ttl=30) as job:
        print(job.value)  # it is not done, so it is delivered again
    with mails.take(ttl=30) as job:
        print(job.value, job.deliveries)
        job.done()
    print(kv.get("sent/ann"), mails.waiting(), mails.dead())
