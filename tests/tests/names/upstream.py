"""Name servers of a host: one that answers, one that fails, one that is silent. Says "ready" when all of them listen."""

import socket
import struct
import sys
import threading

MANY = 100


def name_of(message):
    """The name that is asked for, and where the question ends."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode().lower())
        at += 1 + message[at]
    return ".".join(labels), at + 5


def address(number, ttl=60):
    return b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl, 4) + bytes([192, 0, 2, number])


SOA = b"\0" + struct.pack("!HHIH", 6, 1, 60, 22) + b"\0\0" + struct.pack("!5I", 1, 1, 1, 1, 60)
asked = {}


def answer(message, whole):
    name, end = name_of(message)
    kind = struct.unpack("!H", message[end - 4 : end - 2])[0]
    asked[name, kind] = asked.get((name, kind), 0) + 1
    answers, denial, flags = [], b"", 0x8180
    if name == "up.example" and kind == 1:
        answers = [address(1)]
    elif name == "big.example" and kind == 1:
        answers = [address(n) for n in range(MANY if whole else 3)]
        flags |= 0 if whole else 0x0200
    elif name == "times.example" and kind == 1:
        # How often somebody has asked for up.example.
        answers = [address(asked.get(("up.example", 1), 0), ttl=0)]
    elif name in ("up.example", "big.example", "times.example"):
        denial = SOA
    else:
        denial, flags = SOA, 0x8183
    counts = struct.pack("!HHHHHH", struct.unpack("!H", message[:2])[0], flags, 1, len(answers), bool(denial), 0)
    return counts + message[12:end] + b"".join(answers) + denial


def fail(message, _whole):
    _, end = name_of(message)
    return message[:2] + struct.pack("!HHHHH", 0x8182, 1, 0, 0, 0) + message[12:end]


def datagrams(server, reply):
    while True:
        message, caller = server.recvfrom(4096)
        server.sendto(reply(message, False), caller)


def connections(server, reply):
    while True:
        caller, _ = server.accept()
        with caller, caller.makefile("rwb") as stream:
            while length := stream.read(2):
                told = reply(stream.read(int.from_bytes(length, "big")), True)
                stream.write(len(told).to_bytes(2, "big") + told)
                stream.flush()


def bind(kind, host):
    server = socket.socket(socket.AF_INET, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((host, 53))
    if kind == socket.SOCK_STREAM:
        server.listen()
    return server


good, failing, silent = sys.argv[1:4]
held = [bind(socket.SOCK_DGRAM, silent), bind(socket.SOCK_STREAM, silent)]
for host, reply in ((good, answer), (failing, fail)):
    for kind, serve in ((socket.SOCK_DGRAM, datagrams), (socket.SOCK_STREAM, connections)):
        threading.Thread(target=serve, args=(bind(kind, host), reply), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
