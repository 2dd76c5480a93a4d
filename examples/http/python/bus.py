"""Publishes, reads and follows a topic over HTTP, with the standard library only.

usage: bus.py URL TOPIC
"""
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


class Bus:
    """A topic behind the HTTP door of a node."""

    def __init__(self, url, topic):
        self.url = f"{url}/v1/topics/{urllib.parse.quote(topic, safe='')}"

    def request(self, path, body=None, headers=None, timeout=30):
        request = urllib.request.Request(self.url + path, data=body, headers=headers or {})
        if "LEAT_TOKEN" in os.environ:
            request.add_header("Authorization", "Bearer " + os.environ["LEAT_TOKEN"])
        try:
            return urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            problem = json.load(error)  # every failed answer is one (RFC 9457)
            raise RuntimeError(f"{problem['code']} {problem['detail']}: {problem['hint']}") from None

    def publish(self, value, key=None):
        headers = {"Content-Type": "text/plain"}
        if key is not None:
            headers["Leat-Key"] = key
        with self.request("/messages", value.encode(), headers) as answer:
            return json.load(answer)

    def publish_all(self, messages):
        """Publishes many messages in one request, and gives how many were stored and how many failed."""
        lines = "".join(json.dumps(message) + "\n" for message in messages)
        # urllib does not read while it writes, so it asks for one answer at the end.
        path = "/messages?receipts=summary"
        with self.request(path, lines.encode(), {"Content-Type": "application/x-ndjson"}) as answer:
            return json.load(answer)

    def read(self, start="earliest", limit=100):
        """Gives what there is, page by page."""
        while True:
            query = urllib.parse.urlencode({"from": start, "limit": limit})
            with self.request("/messages?" + query) as answer:
                page = json.load(answer)
            if not page["messages"]:
                return
            yield from page["messages"]
            start = page["next"]

    def pull(self, group, most, wait=20):
        """Gives messages that this worker has for as long as the group lends them, each with a token."""
        query = urllib.parse.urlencode({"max": most, "wait": wait})
        with self.request(f"/groups/{group}/pull?{query}", b"") as answer:
            return json.load(answer)["messages"]

    def settle(self, group, verb, tokens, **more):
        """Says ack, nack, reject or extend of messages, and gives for how many of them it was in time."""
        body = json.dumps({"tokens": tokens, **more}).encode()
        path = f"/groups/{group}/{verb}"
        with self.request(path, body, {"Content-Type": "application/json"}) as answer:
            return json.load(answer)["done"]

    def follow(self, start="latest", attempts=5):
        """Gives messages with the place behind each, for ever: it connects again where it was."""
        failed = 0
        while True:
            try:
                with self.request("/events", headers={"Last-Event-ID": start}, timeout=60) as stream:
                    for name, data, place in events(stream):
                        start, failed = place, 0
                        if name == "problem":
                            raise RuntimeError(data)
                        if name == "message":
                            yield json.loads(data), place
            except OSError:
                pass  # the connection was lost
            failed += 1
            if failed > attempts:
                raise ConnectionError("the stream ends again and again")
            time.sleep(0.1 * 2**failed)


def events(stream):
    """Cuts a stream of server-sent events: name, data and the last id of each."""
    name, data, place = "message", [], ""
    for line in stream:
        field, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            place = value
        elif field == "" and value == "":  # an empty line ends an event; a comment has a value
            if data:
                yield name, "\n".join(data), place
            name, data = "message", []


def main():
    bus = Bus(*sys.argv[1:3])
    receipt = bus.publish("hello", key="user-1")
    print(f"published at {receipt['partition']}:{receipt['offset']}")

    summary = bus.publish_all({"key": "user-1", "value": value} for value in ("one", "two", "three"))
    print(f"published {summary['published']} more, {summary['failed']} failed")

    for message in bus.read(limit=2):
        print("read", message["value"])

    place = "earliest"
    for count in (2, 2):
        stream = bus.follow(place)
        for _ in range(count):
            message, place = next(stream)
            print("followed", message["value"])
        stream.close()  # as if the program was stopped here: the place is all it needs
        if count == 2 and message["value"] == "one":
            print("connection dropped at", place)

    work = []
    while len(work) < 4:
        work += bus.pull("workers", 4 - len(work))
    for message in work:
        print("pulled", message["value"])
    first, *rest = (message["token"] for message in work)
    bus.settle("workers", "nack", [first], delay_ms=0)
    print("acked", bus.settle("workers", "ack", rest))
    (again,) = bus.pull("workers", 1)
    print(f"pulled {again['value']}, attempt {again['attempt']}")
    print("acked", bus.settle("workers", "ack", [again["token"]]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
