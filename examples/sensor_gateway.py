"""A gateway: frames come in as UDP datagrams and over a serial line, alerts go out.

A frame is 10 bytes, struct '!Ibf?': id, channel, value, status.  Datagrams hold whole frames; a serial line cuts them
anywhere, so what is left of the last one waits for its rest.
"""
import socket
import struct

import corec

FRAME = struct.Struct("!Ibf?")
START = 1_700_000_000_000  # ms since 1970: a program of its own would say time.time_ns() // 1_000_000


def udp_feed(inbox, second):
    """Twenty boilers, each a datagram a second; number 7 gets hotter and hotter."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        for number in range(20):
            celsius = 60.0 + number / 10 + (second * 1.5 if number == 7 else 0)
            device.sendto(FRAME.pack(number, 1, celsius, True), inbox.getsockname())
    return b"".join(inbox.recv(2048) for _ in range(20))


class SerialFeed:
    """Gives bytes as they come, and keeps the part of a frame at their end."""

    def __init__(self):
        self.tail = b""

    def whole_frames(self, received):
        received = self.tail + received
        whole = len(received) // FRAME.size * FRAME.size
        self.tail = received[whole:]
        return received[:whole]


engine = corec.Engine({"bloques": [
    {"id": "boilers", "canal": 1, "entidades": 100, "limites": {"alto": 80.0}},
    {"id": "doors", "canal": 2, "entidades": 10},
]})
inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
inbox.bind(("127.0.0.1", 0))
line, serial = b"".join(FRAME.pack(100 + n % 10, 2, n % 2, True) for n in range(30)), SerialFeed()

for second in range(20):
    frames = udp_feed(inbox, second) + serial.whole_frames(line[second * 15 : second * 15 + 15])
    for alert in engine.feed(frames, at=START + second * 1000).alerts:
        print(f"second {second}: boiler {alert['id']} at {alert['valor']:.1f}, above {alert['limit']:.0f}")
inbox.close()
ledger = engine.ledger
print(f"{ledger['in']} readings = {ledger['stored']} messages + {ledger['filtered']} filtered, {ledger['rejected']} rejected")

# It prints:
#
#     second 13: boiler 7 at 80.2, above 80
#     430 readings = 36 messages + 394 filtered, 0 rejected
