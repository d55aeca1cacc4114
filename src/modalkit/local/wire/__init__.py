"""Bytes to requests and back: HTTP/2 and gRPC, HTTP/1.1, sockets, ports and what may connect."""
