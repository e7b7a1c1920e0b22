"""Which records belong together, and when each was created: the plan that the generated records follow.

All draws come from one random generator in a fixed order, so the same seed and scale give the same account.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

from pipelines.sandbox.store.shapes import LINK_NAMES, Record, link

from .data import CHILDREN, CITIES, FACTS, WORDS, Item, nth

DAY = 86_400

_YEARS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES = [f" {minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60)]
_SECONDS = [f"{second:02}" for second in range(60)]


def day(second: int) -> str:
    """The day of a second since 1970, at 00:00:00, as the API writes it."""
    return _date(second // DAY) + " 00:00:00"


def at(second: int) -> str:
    """A second since 1970 as the API writes it; much faster than `strftime`."""
    rest = second % DAY
    return _date(second // DAY) + _MINUTES[rest // 60] + _SECONDS[rest % 60]


@cache
def _date(days: int) -> str:
    return (_EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")


class Story:
    """The plan of one account. Lists are indexed by a record's number within its entity, from 0."""

    def __init__(self, seed: int, scale: float, now: datetime) -> None:
        self.now = int(now.timestamp())
        self.rng = Random(f"insightly sandbox {seed}")
        self.start = self.now - _YEARS * 365 * DAY
        self.size = {entity: _size(facts, scale) for entity, facts in FACTS.items()}
        # Of each of these there are as many as others need.
        self.size["pricebook_entries"] = self.size["products"] * self.size["pricebooks"]
        self.size["quote_line_items"] = self.size["quotes"] * 2
        self.size["team_members"] = self.size["users"] * 4 // 3
        self._ids = {entity: (int(facts.get("id", 0)), "size" in facts) for entity, facts in FACTS.items()}
        self._ids |= {entity: (int(facts.get("id", 0)), True) for entity, facts in CHILDREN.items()}
        self.users = [self.id("users", number) for number in range(self.size["users"])]
        self.created = {entity: self._creation_times(entity) for entity in FACTS}
        self.links: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        self._link_id = 500_000_000
        self._word_offset = self.rng.randrange(1_000)
        self._plan_contacts()
        self._plan_leads()
        self._plan_deals()
        self._plan_projects()

    def id(self, entity: str, number: int) -> int:
        """The id of a record: rising with its number, and with gaps in an entity that grows."""
        first, grows = self._ids[entity]
        return first + 7 * number + number * number % 5 if grows else first + number

    def pick(self, words: Sequence[Item]) -> Item:
        """A random one."""
        return words[int(self.rng.random() * len(words))]

    def earlier(self, entity: str, share: float) -> int:
        """The number of a random record of `entity` that existed when `share` of the time had passed."""
        return int(self.rng.random() * max(1, int(share * self.size[entity])))

    def since(self, second: int) -> int:
        """A random second between `second` and now, more often soon after it."""
        return second + int((self.now - second) * self.rng.random() ** 2)

    def organisation_name(self, number: int) -> str:
        number += self._word_offset
        places, trades = WORDS["places"], WORDS["trades"]
        rest = number // len(places)
        mark = f" {rest // len(trades) + 1}" if rest >= len(trades) else ""
        return f"{nth(places, number)} {nth(trades, number * 7 + rest)}{mark} {nth(WORDS['suffixes'], number * 3)}"

    def domain(self, organisation: int) -> str:
        words = self.organisation_name(organisation).lower().split()
        return f"{''.join(words[:-1])}.example".replace("&", "")

    def city(self, organisation: int) -> list[str]:
        """City, state, start of the postcode, country and dialling code."""
        return nth(CITIES, organisation * 11 + self._word_offset)

    def connect(self, own: tuple[str, int], other: tuple[str, int], role: str | None = None, both: bool = True) -> None:
        """Links two records (entity, number); `both` shows the link on the other one too."""
        self._link_id += 1
        near, far = ((LINK_NAMES[entity], self.id(entity, number)) for entity, number in (own, other))
        fields: Record = {"ROLE": role}
        if own[0] == other[0]:
            fields["RELATIONSHIP_ID"] = self.id("relationships", own[0] != "contacts")
        if own[0] == other[0] or self._link_id % 40 == 0:
            fields |= {"DETAILS": nth(WORDS["sentences"], self._link_id), "ROLE": role or "Partner"}
        self.links[own].append(link(self._link_id, near, far) | fields)
        if both:
            self.links[other].append(link(self._link_id, far, near, forward=False) | fields)

    def _creation_times(self, entity: str) -> list[int]:
        if "size" not in FACTS[entity]:
            return [self.start] * self.size[entity]
        step = (self.now - self.start) / self.size[entity]
        return [self.start + int((number + self.rng.random()) * step) for number in range(self.size[entity])]

    def _plan_contacts(self) -> None:
        count = self.size["contacts"]
        self.contact_names = [(self.pick(WORDS["first"]), self.pick(WORDS["last"])) for _ in range(count)]
        self.employer = [self.earlier("organisations", number / count) for number in range(count)]
        created = self.created["contacts"]
        for number, organisation in enumerate(self.employer):
            created[number] = max(created[number], self.created["organisations"][organisation])
            self.connect(("contacts", number), ("organisations", organisation))
            if number % 9 == 8:
                self.connect(("contacts", number - 4), ("contacts", number), "Manager")
        for number in range(5, self.size["organisations"], 11):
            self.connect(("organisations", number - 5), ("organisations", number), "Supplier")

    def _plan_leads(self) -> None:
        """Which contact a converted lead became; one contact comes from one lead at most."""
        leads, contacts = self.size["leads"], self.size["contacts"]
        self.became: dict[int, int] = {}
        for number in range(leads):
            contact = -(-(number + 1) * contacts // leads)
            if contact < contacts and self.rng.random() < 0.3:
                self.became[number] = contact
            elif number % 4 == 0:
                self.connect(("leads", number), ("organisations", self.earlier("organisations", number / leads)))

    def _plan_deals(self) -> None:
        count, random = self.size["opportunities"], self.rng.random
        self.buyer: list[int] = []
        self.state: list[str] = []
        self.closed: list[int | None] = []
        self.first_deal: dict[int, int] = {}
        created = self.created["opportunities"]
        for number in range(count):
            contact = self.earlier("contacts", number / count)
            created[number] = max(created[number], self.created["contacts"][contact])
            self.buyer.append(contact)
            self.first_deal.setdefault(contact, number)
            ended = created[number] + int((10 + 170 * random()) * DAY)
            state, draw = "OPEN", random()
            if ended < self.now:
                state = "WON" if draw < 0.45 else "LOST" if draw < 0.8 else "ABANDONED" if draw < 0.9 else "OPEN"
                state = "SUSPENDED" if draw > 0.96 else state
            self.state.append(state)
            self.closed.append(ended if state not in {"OPEN", "SUSPENDED"} else None)
            self.connect(("opportunities", number), ("contacts", contact), "Buyer")
            self.connect(("opportunities", number), ("organisations", self.employer[contact]))

    def _plan_projects(self) -> None:
        won = [number for number, state in enumerate(self.state) if state == "WON"]
        self.deal_of: list[int | None] = []
        created, count = self.created["projects"], self.size["projects"]
        step = max(1, len(won) // count)
        for number in range(count):
            # In order, so that projects follow their deals through the years.
            deal = won[number * step] if number * step < len(won) and self.rng.random() < 0.8 else None
            self.deal_of.append(deal)
            if deal is not None:
                created[number] = min(self.now - 3_600, (self.closed[deal] or self.start) + DAY)
                self.connect(("projects", number), ("opportunities", deal))
                client = self.employer[self.buyer[deal]]
            else:
                client = self.earlier("organisations", number / count)
            self.connect(("projects", number), ("organisations", client))


def _size(facts: Mapping[str, Any], scale: float) -> int:
    if "size" in facts:
        return max(1, round(float(facts["size"]) * scale))
    return max(len(values) for values in facts.values() if isinstance(values, list))
