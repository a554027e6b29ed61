# A web server by TLS for the tests: its first line of stdin is a JSON object, its first line of stdout the port. It ends when
# its stdin does.
#
# cert, key: files; sni: {name: [cert, key]}; clients: file of authorities of those who may ask; min, max: "1.2", "1.3";
# ciphers: of TLS 1.2; plain: without TLS; pages: {path: {head, body, times, cut}}
import json
import os
import socket
import ssl
import sys
import threading

told = json.loads(sys.stdin.readline())
versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(cert, key):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # First: they also say which keys are good enough.
    if told.get("ciphers"):
        made.set_ciphers(told["ciphers"])
    made.load_cert_chain(cert, key)
    made.minimum_version = versions[told.get("min", "1.2")]
    made.maximum_version = versions[told.get("max", "1.3")]
    if told.get("clients"):
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(told["clients"])
    return made


def by_name(connection, name, _):
    if name in named:
        connection.context = named[name]


named = {name: context(*files) for name, files in told.get("sni", {}).items()}
tls = None if told.get("plain") else context(told["cert"], told["key"])
if named:
    tls.sni_callback = by_name


def answer(connection):
    # Who comes to see whether there is somebody says nothing.
    connection.settimeout(60)
    # What is answered leaves at once: a close with something unread behind it would take back what waits for an ACK.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if tls:
            connection = tls.wrap_socket(connection, server_side=True)
        if told.get("plain"):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        asked = b""
        while b"\r\n\r\n" not in asked:
            piece = connection.recv(4096)
            if not piece:
                return
            asked += piece
        page = told["pages"].get(asked.split(b" ")[1].decode(), {"head": "HTTP/1.1 404 None\r\n"})
        body = page.get("body", "").encode() * page.get("times", 1)
        if told.get("clients"):
            subject = dict(part[0] for part in connection.getpeercert()["subject"])
            body = subject["commonName"].encode()
        connection.sendall(page["head"].replace("LENGTH", str(len(body))).encode() + b"\r\n" + body)
        if tls and not page.get("cut"):
            connection.unwrap()
    except OSError:
        pass
    finally:
        connection.close()


def accept():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
os._exit(0)
