"""Answers read from raw sockets."""

import socket


def whole_answer(connection: socket.socket) -> bytes:
    """Head and body of one answer; they may come in several pieces."""
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer) < _length(answer):
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def _length(answer: bytes) -> int:
    head, _, _ = answer.partition(b"\r\n\r\n")
    announced = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(head) + 4 + int(announced.split(b":")[1])
