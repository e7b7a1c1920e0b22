"""Who belongs to whom, and when: the plan that the records of the seed are written from.

Everything comes from one random generator in a fixed order, so the same seed and scale give the same account.
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random

from pipelines.sandbox.store.shapes import LINK_NAMES, Record, link

from .reference import PIPELINES
from .words import CITIES, FIRST, LAST, PLACE_WORDS, SUFFIXES, TRADES

SIZES = {
    "organisations": 400,
    "contacts": 1_000,
    "leads": 600,
    "opportunities": 500,
    "projects": 200,
    "tasks": 1_500,
    "events": 800,
    "notes": 1_000,
    "products": 40,
    "users": 12,
}
"""Records of each entity at scale 1."""

MORE = {
    "opportunity_line_items": 300,
    "quotes": 120,
    "emails": 1_200,
    "prospects": 150,
    "marketing_visits": 400,
    "milestones": 150,
    "tickets": 200,
    "knowledge_articles": 40,
    "community_posts": 60,
    "community_comments": 120,
    "follows": 60,
}
"""The same of what only hangs on those, drawn after them."""

YEARS = 3
_BASES = {
    "organisations": 120_000_000,
    "contacts": 330_000_000,
    "leads": 60_000_000,
    "opportunities": 41_000_000,
    "projects": 8_100_000,
    "tasks": 210_000_000,
    "events": 90_000_000,
    "notes": 150_000_000,
    "products": 700_000,
    "users": 1_200_000,
    "pricebook_entries": 1_500_000,
    "opportunity_line_items": 1_700_000,
    "quotes": 2_100_000,
    "quote_line_items": 2_300_000,
    "emails": 510_000_000,
    "prospects": 27_000_000,
    "marketing_visits": 700_000_000,
    "milestones": 5_200_000,
    "tickets": 3_100_000,
    "knowledge_articles": 420_000,
    "community_posts": 450_000,
    "community_comments": 470_000,
    "team_members": 880_000,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

STAGES = [
    (6_001 + 100 * index + order, 501 + index, name, order + 1)
    for index, (_, _, _, names) in enumerate(PIPELINES)
    for order, name in enumerate(names)
]
"""(STAGE_ID, PIPELINE_ID, STAGE_NAME, STAGE_ORDER) of every stage."""


class Calendar:
    """Seconds since 1970 as the API writes them; much quicker than formatting each."""

    def __init__(self) -> None:
        self._times = [f" {s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(86_400)]
        self._days: dict[int, str] = {}

    def day(self, second: int) -> str:
        """The day of `second` at 00:00:00."""
        return self._date(second // 86_400) + " 00:00:00"

    def at(self, second: int) -> str:
        days, rest = divmod(second, 86_400)
        return self._date(days) + self._times[rest]

    def _date(self, days: int) -> str:
        text = self._days.get(days)
        if text is None:
            text = self._days[days] = (_EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")
        return text


class Story:
    """The plan of one account. Lists are indexed by a record's number within its entity, from 0."""

    def __init__(self, seed: int, scale: float, now: datetime) -> None:
        self.seed, self.scale = seed, scale
        self.rng = Random(f"insightly sandbox {seed}")
        self.scale, self.now = scale, int(now.timestamp())
        self.start = self.now - YEARS * 365 * 86_400
        self.calendar = Calendar()
        self.size = {entity: max(1, round(count * scale)) for entity, count in SIZES.items()}
        self.created = {entity: self._created(count) for entity, count in self.size.items()}
        self.links: defaultdict[tuple[str, int], list[tuple[int, str, int, str | None, bool]]] = defaultdict(list)
        self._link_id = 500_000_000
        self._word_offset = self.rng.randrange(1_000)
        self._people()
        self._leads()
        self._deals()
        self._projects()

    def id(self, entity: str, number: int) -> int:
        """The id of a record: rising with its number, with gaps."""
        return _BASES[entity] + 7 * number + number * number % 5

    def user(self) -> int:
        return self.id("users", int(self.rng.random() * self.size["users"]))

    def since(self, second: int) -> int:
        """A moment between `second` and now, more often soon after it."""
        return second + int((self.now - second) * self.rng.random() ** 2)

    def earlier(self, entity: str, share: float) -> int:
        """The number of a record of `entity` that existed when `share` of the story had passed."""
        return int(self.rng.random() * max(1, int(share * self.size[entity])))

    def organisation_name(self, number: int) -> str:
        number += self._word_offset
        word, rest = number % len(PLACE_WORDS), number // len(PLACE_WORDS)
        trade, rest = (number * 7 + rest) % len(TRADES), rest // len(TRADES)
        suffix = SUFFIXES[(number * 3 + rest) % len(SUFFIXES)]
        mark = f" {rest + 1}" if rest else ""
        return f"{PLACE_WORDS[word]} {TRADES[trade]}{mark} {suffix}"

    def domain(self, number: int) -> str:
        words = self.organisation_name(number).lower().split()
        return f"{''.join(words[:-1])}.example".replace("&", "")

    def city(self, organisation: int) -> tuple[str, str, str, str, str]:
        return CITIES[(organisation * 11 + self._word_offset) % len(CITIES)]

    def contact_name(self, number: int) -> tuple[str, str]:
        first, last = self.contact_names[number]
        return FIRST[first], LAST[last]

    def connect(self, own: tuple[str, int], other: tuple[str, int], role: str | None = None, both: bool = True) -> None:
        """Links two records given as (entity, number); `both` shows the link on the other one too."""
        self._link_id += 1
        self.links[own].append((self._link_id, *other, role, True))
        if both:
            self.links[other].append((self._link_id, *own, role, False))

    def links_of(self, entity: str, number: int) -> list[Record]:
        own = (LINK_NAMES[entity], self.id(entity, number))
        return [
            link(link_id, own, (LINK_NAMES[far], self.id(far, other)), role, forward)
            for link_id, far, other, role, forward in self.links.pop((entity, number), ())
        ]

    def many(self, entity: str) -> int:
        """How many records there are of one of `MORE`."""
        return max(1, round(MORE[entity] * self.scale))

    def more(self, entity: str) -> list[int]:
        """When each record of one of `MORE` was created; drawn anew by each call."""
        return self._created(self.many(entity))

    def any(self, entity: str) -> int:
        """The number of some record."""
        return int(self.rng.random() * self.size[entity])

    def _created(self, count: int) -> list[int]:
        step = (self.now - self.start) / count
        return [self.start + int((number + self.rng.random()) * step) for number in range(count)]

    def _people(self) -> None:
        count, random = self.size["contacts"], self.rng.random
        self.contact_names = [(int(random() * len(FIRST)), int(random() * len(LAST))) for _ in range(count)]
        self.employer = [self.earlier("organisations", number / count) for number in range(count)]
        created = self.created["contacts"]
        for number, organisation in enumerate(self.employer):
            created[number] = max(created[number], self.created["organisations"][organisation])
            self.connect(("contacts", number), ("organisations", organisation))

    def _leads(self) -> None:
        """Which contact a converted lead became; one contact comes from one lead at most."""
        leads, contacts = self.size["leads"], self.size["contacts"]
        self.became: dict[int, int] = {}
        for number in range(leads):
            contact = -(-(number + 1) * contacts // leads)
            if contact < contacts and self.rng.random() < 0.3:
                self.became[number] = contact

    def _deals(self) -> None:
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
            ended = created[number] + int((10 + 170 * random()) * 86_400)
            state, draw = "OPEN", random()
            if ended < self.now:
                state = "WON" if draw < 0.45 else "LOST" if draw < 0.8 else "ABANDONED" if draw < 0.9 else "OPEN"
                state = "SUSPENDED" if draw > 0.96 else state
            self.state.append(state)
            self.closed.append(ended if state not in {"OPEN", "SUSPENDED"} else None)
            self.connect(("opportunities", number), ("contacts", contact), "Buyer")
            self.connect(("opportunities", number), ("organisations", self.employer[contact]))

    def _projects(self) -> None:
        won = [number for number, state in enumerate(self.state) if state == "WON"]
        self.deal_of: list[int | None] = []
        created, count = self.created["projects"], self.size["projects"]
        step = max(1, len(won) // count)
        for number in range(count):
            # Taken in order, so that projects follow their deals through the years.
            deal = won[number * step] if number * step < len(won) and self.rng.random() < 0.8 else None
            self.deal_of.append(deal)
            if deal is not None:
                created[number] = min(self.now - 3_600, (self.closed[deal] or self.start) + 86_400)
                self.connect(("projects", number), ("opportunities", deal))
                self.connect(("projects", number), ("organisations", self.employer[self.buyer[deal]]))
            else:
                self.connect(("projects", number), ("organisations", self.earlier("organisations", number / count)))
