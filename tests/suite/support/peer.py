"""The other end of TLS in tests of certificates: Python's ssl, which is OpenSSL. Reads commands, answers with lines.

serve CERT KEY          a server that sends back what it gets; its port
alert PORT              why the oldest handshake that failed there, and was not asked for yet, did; waits for one
connect PORT CERT KEY   a client that verifies nothing; whether it got back what it sent. CERT - for none
"""

import queue
import socket
import ssl
import sys
import threading

FAILED = {}


def answer(stream):
    with stream:
        stream.sendall(stream.recv(16))


def serve(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    FAILED[port] = queue.Queue()

    def work():
        while True:
            plain, _ = listener.accept()
            try:
                answer(context.wrap_socket(plain, server_side=True))
            except OSError as error:
                plain.close()
                FAILED[port].put(getattr(error, "reason", None) or type(error).__name__)

    threading.Thread(target=work, daemon=True).start()
    return port


def alert(port):
    return FAILED[int(port)].get(timeout=20)


def connect(port, cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert != "-":
        context.load_cert_chain(cert, key)
    try:
        with socket.create_connection(("127.0.0.1", int(port)), 20) as plain:
            with context.wrap_socket(plain) as stream:
                stream.sendall(b"hello")
                return "accepted" if stream.recv(16) == b"hello" else "refused"
    except OSError:
        return "refused"


for line in sys.stdin:
    command, *words = line.split()
    print({"serve": serve, "alert": alert, "connect": connect}[command](*words), flush=True)
