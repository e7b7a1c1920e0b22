"""Which records belong together, and when each was created: the plan that the generated records follow.

All draws come from one random generator in a fixed order, so the same seed and scale give the same account.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from pipelines.sandbox.store.shapes import LINK_NAMES, Record, blank, facts_of, link

from .reference import PIPELINES
from .words import CITIES, FIRST, LAST, PLACE_WORDS, SUFFIXES, TRADES, nth

DAY = 86_400

_MAIN = {
    "organisations": (120_000_000, 400),
    "contacts": (330_000_000, 1_000),
    "leads": (60_000_000, 600),
    "opportunities": (41_000_000, 500),
    "projects": (8_100_000, 200),
    "tasks": (210_000_000, 1_500),
    "events": (90_000_000, 800),
    "notes": (150_000_000, 1_000),
    "products": (700_000, 40),
    "users": (1_200_000, 12),
}
_FURTHER = {
    "opportunity_line_items": (1_700_000, 300),
    "quotes": (2_100_000, 120),
    "emails": (510_000_000, 1_200),
    "prospects": (27_000_000, 150),
    "marketing_visits": (700_000_000, 400),
    "milestones": (5_200_000, 150),
    "tickets": (3_100_000, 200),
    "knowledge_articles": (420_000, 40),
    "community_posts": (450_000, 60),
    "community_comments": (470_000, 120),
    "follows": (0, 60),
    "pricebook_entries": (1_500_000, 0),
    "quote_line_items": (2_300_000, 0),
    "team_members": (880_000, 0),
}
"""The first id and the records at scale 1 (0: as many as others need) of each entity.

The dates of the main ones are drawn before everything else, those of the others when they are written.
"""
_ENTITIES = _MAIN | _FURTHER

_YEARS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

STAGES = [
    (6_001 + 100 * index + order, 501 + index, name, order + 1)
    for index, (_, _, _, names) in enumerate(PIPELINES)
    for order, name in enumerate(names)
]
"""(STAGE_ID, PIPELINE_ID, STAGE_NAME, STAGE_ORDER) of every stage."""


class Calendar:
    """Formats seconds since 1970 as the API writes them; much faster than `strftime` for each."""

    def __init__(self) -> None:
        self._times = [f" {s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(DAY)]
        self._dates: dict[int, str] = {}

    def day(self, second: int) -> str:
        """The day of `second` at 00:00:00."""
        return self.at(second - second % DAY)

    def at(self, second: int) -> str:
        """The date and time of `second`."""
        day, rest = divmod(second, DAY)
        if day not in self._dates:
            self._dates[day] = (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")
        return self._dates[day] + self._times[rest]


class Story:
    """The plan of one account. Lists are indexed by a record's number within its entity, from 0."""

    def __init__(self, seed: int, scale: float, now: datetime) -> None:
        self.seed, self.scale, self.now = seed, scale, int(now.timestamp())
        self.rng = Random(f"insightly sandbox {seed}")
        self.start = self.now - _YEARS * 365 * DAY
        self.calendar = Calendar()
        self.size = {entity: max(1, round(size * scale)) for entity, (_, size) in _ENTITIES.items()}
        self.created = {entity: self._creation_times(entity) for entity in _MAIN}
        self.links: defaultdict[tuple[str, int], list[tuple[int, str, int, str | None, bool]]] = defaultdict(list)
        self._link_id = 500_000_000
        self._word_offset = self.rng.randrange(1_000)
        self._plan_contacts()
        self._plan_leads()
        self._plan_deals()
        self._plan_projects()

    def id(self, entity: str, number: int) -> int:
        """The id of a record: rising with its number, with gaps."""
        return _ENTITIES[entity][0] + 7 * number + number * number % 5

    def blank(self, entity: str, number: int) -> Record:
        """A blank record with its id."""
        return blank(entity) | {facts_of(entity).key[0]: self.id(entity, number)}

    def records(self, entity: str) -> Iterator[tuple[int, int, Record]]:
        """The number, the second of creation and a blank record with its id, for each record of `entity`."""
        for number, created in enumerate(self.created.get(entity) or self._creation_times(entity)):
            yield number, created, self.blank(entity, number)

    def pick(self, words: Sequence[str]) -> str:
        """A random word."""
        return words[int(self.rng.random() * len(words))]

    def any(self, entity: str) -> int:
        """The number of a random record."""
        return self.earlier(entity, 1)

    def earlier(self, entity: str, share: float) -> int:
        """The number of a random record of `entity` that existed when `share` of the time had passed."""
        return int(self.rng.random() * max(1, int(share * self.size[entity])))

    def user(self) -> int:
        """The id of a random user."""
        return self.id("users", self.any("users"))

    def since(self, second: int) -> int:
        """A random second between `second` and now, more often soon after it."""
        return second + int((self.now - second) * self.rng.random() ** 2)

    def organisation_name(self, number: int) -> str:
        number += self._word_offset
        word, rest = number % len(PLACE_WORDS), number // len(PLACE_WORDS)
        trade, rest = (number * 7 + rest) % len(TRADES), rest // len(TRADES)
        mark = f" {rest + 1}" if rest else ""
        return f"{PLACE_WORDS[word]} {TRADES[trade]}{mark} {nth(SUFFIXES, number * 3 + rest)}"

    def domain(self, organisation: int) -> str:
        words = self.organisation_name(organisation).lower().split()
        return f"{''.join(words[:-1])}.example".replace("&", "")

    def city(self, organisation: int) -> tuple[str, str, str, str, str]:
        """City, state, start of the postcode, country and dialling code."""
        return CITIES[(organisation * 11 + self._word_offset) % len(CITIES)]

    def phone(self, dial: str) -> str:
        return f"{dial} {200_000 + int(self.rng.random() * 799_999)}"

    def connect(self, own: tuple[str, int], other: tuple[str, int], role: str | None = None, both: bool = True) -> None:
        """Links two records (entity, number); `both` shows the link on the other one too."""
        self._link_id += 1
        self.links[own].append((self._link_id, *other, role, True))
        if both:
            self.links[other].append((self._link_id, *own, role, False))

    def links_of(self, entity: str, number: int) -> list[Record]:
        """The value of LINKS of a record."""
        own = (LINK_NAMES[entity], self.id(entity, number))
        return [
            link(link_id, own, (LINK_NAMES[far], self.id(far, other)), role, forward)
            for link_id, far, other, role, forward in self.links.pop((entity, number), ())
        ]

    def _creation_times(self, entity: str) -> list[int]:
        step = (self.now - self.start) / self.size[entity]
        return [self.start + int((number + self.rng.random()) * step) for number in range(self.size[entity])]

    def _plan_contacts(self) -> None:
        count = self.size["contacts"]
        self.contact_names = [(self.pick(FIRST), self.pick(LAST)) for _ in range(count)]
        self.employer = [self.earlier("organisations", number / count) for number in range(count)]
        created = self.created["contacts"]
        for number, organisation in enumerate(self.employer):
            created[number] = max(created[number], self.created["organisations"][organisation])
            self.connect(("contacts", number), ("organisations", organisation))

    def _plan_leads(self) -> None:
        """Which contact a converted lead became; one contact comes from one lead at most."""
        leads, contacts = self.size["leads"], self.size["contacts"]
        self.became: dict[int, int] = {}
        for number in range(leads):
            contact = -(-(number + 1) * contacts // leads)
            if contact < contacts and self.rng.random() < 0.3:
                self.became[number] = contact

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
