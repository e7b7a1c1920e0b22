"""A fast Insightly with contacts only: it caches its pages, so that a benchmark measures the client.

    python -m benchmarks.server PORT --records N [--latency S] [--rate N] [--wide] [--without-tags]

A contact is 1.6 kB with three custom fields, two tags and a link; a wide one 100 kB with 300 custom fields and 100
links. `GET /counts` returns the calls so far and the times of the first and the last, and resets them.
`GET /warm?stride=N` caches each page of 500 at 0, N, 2 N … Neither has a rate limit or latency.
"""

import argparse
import random
import threading
import time
import zlib
from collections import deque
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

KINDS = {"Hobby__c": "TEXT", "Score__c": "NUMERIC", "Since__c": "DATE"}
WIDE_FIELDS, WIDE_LINKS = 300, 100
EMPTY = """SALUTATION SOCIAL_LINKEDIN SOCIAL_FACEBOOK SOCIAL_TWITTER PHONE_HOME PHONE_MOBILE PHONE_OTHER
PHONE_ASSISTANT PHONE_FAX ASSISTANT_NAME ADDRESS_OTHER_STREET ADDRESS_OTHER_CITY ADDRESS_OTHER_STATE
ADDRESS_OTHER_POSTCODE ADDRESS_OTHER_COUNTRY NEXT_ACTIVITY_DATE_UTC"""
CITIES = ("Berlin", "Springfield", "Lyon", "Kyoto")
WORDS = "an offer after the fair in spring they want to hear about prices delivery dates service and terms from us"
PROSE = " ".join(random.Random(1).choices(WORDS.split(), k=400))
LAST_STAMP = "2024-12-28 23:59:59"


def prose(number: int, length: int) -> str:
    """A text that differs from one record to the next."""
    begin = number * 31 % (len(PROSE) - length)
    return PROSE[begin : begin + length]


def stamp(id_: int) -> str:
    """When a contact was last updated: a time from 2010 to 2024."""
    day = id_ * 7919 % (15 * 12 * 28)
    return f"20{10 + day // 336}-{day // 28 % 12 + 1:02}-{day % 28 + 1:02} 11:{id_ % 60:02}:00"


def tags(id_: int) -> list[dict[str, str]]:
    return [{"TAG_NAME": f"tag {id_ % 40}"}, {"TAG_NAME": f"tag {40 + id_ % 30}"}]


def contact(id_: int, wide: bool, tagged: bool) -> dict[str, Any]:
    """A contact; always the same for the same id."""
    updated = stamp(id_)
    values = {"Hobby__c": f"hobby {id_ % 50}", "Score__c": id_ % 4_000 / 4, "Since__c": "2020-02-03 00:00:00"}
    if wide:
        values |= {f"Field_{n}__c": prose(id_ + n, 140) for n in range(WIDE_FIELDS - len(values))}
    record: dict[str, Any] = {
        "CONTACT_ID": id_,
        "FIRST_NAME": f"First{id_ % 997}",
        "LAST_NAME": f"Last{id_ % 9973}",
        "IMAGE_URL": f"https://images.example.com/{id_}.jpg",
        "BACKGROUND": prose(id_, 100),
        "OWNER_USER_ID": 1 + id_ % 20,
        "DATE_CREATED_UTC": updated,
        "DATE_UPDATED_UTC": updated,
        "DATE_OF_BIRTH": None if id_ % 3 else "1970-01-02 00:00:00",
        "PHONE": f"+1 555 {id_:07}",
        "EMAIL_ADDRESS": f"person{id_}@example.com",
        "ADDRESS_MAIL_STREET": f"{id_} Main Street",
        "ADDRESS_MAIL_CITY": CITIES[id_ % len(CITIES)],
        "ADDRESS_MAIL_STATE": "IL",
        "ADDRESS_MAIL_POSTCODE": f"{10_000 + id_ * 31 % 90_000}",
        "ADDRESS_MAIL_COUNTRY": "United States",
        "LAST_ACTIVITY_DATE_UTC": updated,
        "CREATED_USER_ID": 1 + id_ % 20,
        "ORGANISATION_ID": 1 + id_ // 5,
        "TITLE": "Manager",
        "EMAIL_OPTED_OUT": False,
        "CUSTOMFIELDS": [
            {"FIELD_NAME": name, "CUSTOM_FIELD_ID": name, "FIELD_VALUE": value} for name, value in values.items()
        ],
        "DATES": [],
        "LINKS": [
            {
                "LINK_ID": id_ * WIDE_LINKS + n,
                "OBJECT_NAME": "Contact",
                "OBJECT_ID": id_,
                "LINK_OBJECT_NAME": "Organisation",
                "LINK_OBJECT_ID": 1 + id_ // 5 + n,
                "ROLE": "Buyer",
                "DETAILS": prose(id_ + n, 150) if wide else None,
                "RELATIONSHIP_ID": None,
                "IS_FORWARD": None,
            }
            for n in range(WIDE_LINKS if wide else 1)
        ],
        **dict.fromkeys(EMPTY.split()),
    }
    if tagged:
        record["TAGS"] = tags(id_)
    return record


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", options.port), Handler)
        self.options, self._lock = options, threading.Lock()
        self._recent: deque[float] = deque()
        self._pages: dict[tuple[str, int, int], tuple[bytes, int]] = {}
        self._found: dict[str, Sequence[int]] = {}
        self.counts = {"calls": 0, "refused": 0, "first": 0.0, "last": 0.0}
        self.kinds = KINDS | {f"Field_{n}__c": "TEXT" for n in range(options.wide and WIDE_FIELDS - len(KINDS))}

    def arrive(self) -> bool:
        """Counts a request; False for one beyond the rate."""
        now, wall = time.monotonic(), time.time()
        with self._lock:
            self.counts.update(calls=self.counts["calls"] + 1, first=self.counts["first"] or wall, last=wall)
            while self._recent and self._recent[0] <= now - 1.0:
                self._recent.popleft()
            if self.options.rate and len(self._recent) >= self.options.rate:
                self.counts["refused"] += 1
                return False
            self._recent.append(now)
            return True

    def take_counts(self) -> bytes:
        with self._lock:
            counts = orjson.dumps(self.counts)
            self.counts = dict.fromkeys(self.counts, 0)
            return counts

    def warm(self, stride: int) -> bytes:
        for skip in range(0, self.options.records, stride):
            self.page("", skip, 500)
        return b"{}"

    def page(self, since: str, skip: int, top: int) -> tuple[bytes, int]:
        """A compressed page, and the total; cached."""
        page = self._pages.get((since, skip, top))
        if page is None:
            ids = self._updated_after(since)
            rows = [contact(id_, self.options.wide, not self.options.without_tags) for id_ in ids[skip : skip + top]]
            packer = zlib.compressobj(1, wbits=31)  # gzip, at the level of a busy server
            body = packer.compress(orjson.dumps(rows)) + packer.flush()
            page = self._pages[since, skip, top] = body, len(ids)
        return page

    def _updated_after(self, since: str) -> Sequence[int]:
        """The ids of records updated after that second, as in Insightly's Search; all ids without one."""
        bound = since.replace("T", " ").removesuffix("Z")
        everything = range(1, self.options.records + 1)
        if not bound or bound > LAST_STAMP:
            return everything if not bound else ()
        if bound not in self._found:
            self._found[bound] = [id_ for id_ in everything if stamp(id_) > bound]
        return self._found[bound]


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/v3.1").strip("/")
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if path == "counts":
            return self._respond(self.server.take_counts())
        if path == "warm":
            return self._respond(self.server.warm(int(query["stride"])))
        if not self.server.arrive():
            return self._respond(b'{"Message": "Too many requests"}', 429)
        time.sleep(self.server.options.latency)
        if path not in ("Contacts", "Contacts/Search"):
            return self._respond(orjson.dumps(self._other(path)))
        since = query.get("updated_after_utc", "") if path == "Contacts/Search" else ""
        body, total = self.server.page(since, int(query.get("skip", 0)), int(query.get("top", 100)))
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        return self._respond(body if packed else zlib.decompress(body, wbits=31), total=total, packed=packed)

    def _other(self, path: str) -> Any:
        if path == "CustomFields/Contacts":
            return [
                {"FIELD_NAME": name, "FIELD_FOR": "CONTACT", "FIELD_TYPE": kind, "FIELD_LABEL": name}
                for name, kind in self.server.kinds.items()
            ]
        if path.endswith("/Tags"):
            return tags(int(path.split("/")[1]))
        return {"INSTANCE_NAME": "benchmark", "INSTANCE_SUBDOMAIN": "benchmark"}

    def _respond(self, body: bytes, status: int = 200, total: int | None = None, packed: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-RateLimit-Limit", "100000")
        self.send_header("X-RateLimit-Remaining", "99999")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        if status == 429:
            self.send_header("Retry-After", "1")
        if total is not None:
            self.send_header("X-Total-Count", str(total))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds per response")
    parser.add_argument("--rate", type=int, default=0, help="requests in any second; 0: no limit")
    parser.add_argument("--wide", action="store_true", help="contacts of 100 kB")
    parser.add_argument(
        "--without-tags", action="store_true", help="records without TAGS; /Contacts/{id}/Tags has them"
    )
    Server(parser.parse_args()).serve_forever()


if __name__ == "__main__":
    main()
