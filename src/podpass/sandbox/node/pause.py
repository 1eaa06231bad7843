# SPDX-License-Identifier: Apache-2.0
"""The process that holds a pod's network namespace: it hands sockets of that namespace to the node agent, which is outside of it.

Run as a file by `python -I -S`, in the namespace already, so it imports the standard library only and little of it. A socket belongs to the
namespace it was made in, whoever holds it: for each byte that comes on standard input, a socket to the agent, goes out a fresh one. End of
file means that the agent is gone; the namespace goes with the last process in it.
"""

import fcntl
import socket
import struct
import sys

# netdevice(7). The alias carries the pod's address; its mask is that of one host, since loopback answers for all of a wider one.
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
IFF_UP = 1
LOOPBACK, ALIAS = b"lo", b"lo:1"


def interface_up(handle: socket.socket) -> None:
    """Bring loopback up, which gives it 127.0.0.1."""
    request = struct.pack("16sH14x", LOOPBACK, 0)
    flags = struct.unpack("16xH14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[0]
    fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", LOOPBACK, flags | IFF_UP))


def interface_address(handle: socket.socket, address: str) -> None:
    """Give loopback a second address."""
    for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.255")):
        fcntl.ioctl(handle, request, struct.pack("16sHH4s8x", ALIAS, socket.AF_INET, 0, socket.inet_aton(value)))


def main() -> None:
    """Serve one pod, whose address is the argument."""
    control = socket.socket(fileno=0)
    with socket.socket() as handle:
        interface_up(handle)
        interface_address(handle, sys.argv[1])
    control.send(b".")
    while control.recv(1):
        with socket.socket() as made:
            socket.send_fds(control, [b"."], [made.fileno()])


if __name__ == "__main__":
    main()
