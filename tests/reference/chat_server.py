"""An OpenAI-compatible endpoint on the loopback interface that misbehaves on demand."""

import hashlib
import json
import threading
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DROP, TRUNCATE, HANG, RESET = "drop", "truncate", "hang", "reset"


def status(code, body="{}", **headers):
    """A behaviour: this status, these headers."""
    return code, body, {name.replace("_", "-"): value for name, value in headers.items()}


def completion(text, **message):
    """Body of a chat completion."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text} | message,
    }
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


def write(messages):
    """What a well-behaved model answers: good samples, reasons or preferences, other ones to other messages."""
    task = messages[-1]["content"]
    mark = hashlib.sha256(json.dumps(messages).encode()).hexdigest()
    if "new examples" not in task:
        return f"Because of {mark[:6]}."
    count = int(task.split("\nWrite ")[1].split()[0])
    lines = []
    for number in range(count):
        share = 40 + int(mark[number % 60], 16)
        prompt = f"please make number {number} of the set {mark[:8]} in green"
        lines.append(
            json.dumps({"prompt": prompt, "reasoning": "green", "preference": [share, 90 - share, 6, 4]})
        )
    return "\n".join(lines)


class ChatServer:
    """Counts what it is asked; `script` holds what it does to the next requests before it behaves again."""

    def __init__(self, answer=write):
        self.script, self.bodies, self.headers, self.answer = [], [], [], answer
        self.on_request = lambda number: None
        self._stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"chat": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def counts(self):
        """How often each body was asked, in order of first arrival."""
        return list(Counter(hashlib.sha256(body).hexdigest() for body in self.bodies).values())

    def wait(self, seconds):
        self._stopped.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait for 40 ms
    chat: ChatServer

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.chat.bodies.append(body)
        self.chat.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.chat.on_request(len(self.chat.bodies))
        action = self.chat.script.pop(0) if self.chat.script else None
        good = completion(self.chat.answer(json.loads(body)["messages"])).encode()
        if action is HANG:
            self.chat.wait(5.0)
            self.close_connection = True
        elif action is RESET:
            self.close_connection = True
        elif action is DROP:
            self._send(200, good, {}, cut=len(good) // 2)
            self.close_connection = True
        elif action is TRUNCATE:
            self._send(200, good[: len(good) // 2], {})
        elif action is None:
            self._send(200, good, {})
        else:
            code, text, headers = action
            self._send(code, text.encode(), headers)

    def _send(self, code, body, headers, cut=None):
        self.send_response_only(code)
        fields = {"Date": formatdate(usegmt=True), "Content-Type": "application/json"} | headers
        for name, value in (fields | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_):
        pass
