"""The worker: reports a finished job to the store each second. Its first life ends badly, to show a restart."""
import os
import sys
import time
import urllib.request

MARK = "/tried"

if not os.path.exists(MARK):
    open(MARK, "w").close()
    print("worker: my first life ends here", flush=True)
    sys.exit(1)

print("worker: back, and at work", flush=True)
while True:
    urllib.request.urlopen(urllib.request.Request(f"{os.environ['STORE']}/jobs", method="POST"), timeout=5).close()
    time.sleep(1)
