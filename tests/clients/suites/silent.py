"""An address that takes no connection and refuses none: a socket that listens and whose queue is full.

    silent.py ADDRESS PORT          says `silent` when it is so, and stays until it is ended
"""

import socket
import sys
import time

address = (sys.argv[1], int(sys.argv[2]))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(address)
listener.listen(0)
waiting = []
while True:
    one = socket.socket()
    one.settimeout(0.5)
    waiting.append(one)
    try:
        one.connect(address)
    except TimeoutError:
        break
print("silent", flush=True)
while True:
    time.sleep(3600)
