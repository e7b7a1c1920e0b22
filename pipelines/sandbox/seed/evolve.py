"""A day of business on a store: the changes that an incremental sync finds after the first one."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from pipelines.sandbox.api.reads import CONVERTED_STATUS
from pipelines.sandbox.store.shapes import LINK_NAMES, Record, key_of
from pipelines.sandbox.store.store import Store

from .data import TAGS, WORDS, email_address


def evolve(store: Store, seed: int = 1, steps: int = 25) -> list[str]:
    """Makes `steps` plausible edits, with dates from the store's clock, and returns a line about each.

    The same store, seed and steps give the same edits. A step without a record to edit is left out.
    """
    day = _Day(store, Random(f"a day of business {seed}"))
    edits: tuple[Callable[[], str], ...] = (
        day.new_lead, day.move_deal, day.complete_task, day.new_note, partial(day.tag, "contacts"),
        day.win_deal, day.call_contact, day.convert_lead, day.new_task, partial(day.delete, "notes"),
        day.new_email, day.solve_ticket, day.sell_more, partial(day.tag, "emails"), partial(day.delete, "emails"),
        day.join_team,
    )  # fmt: skip
    lines = []
    with store.lock:
        for number in range(steps):
            try:
                lines.append(edits[number % len(edits)]())
            except _NoRecordError:
                continue
    return lines


class _NoRecordError(Exception):
    """No record is suited to the edit."""


class _Day:
    def __init__(self, store: Store, rng: Random) -> None:
        self.store, self.rng = store, rng

    def new_lead(self) -> str:
        first, last = self.rng.choice(WORDS["first"]), self.rng.choice(WORDS["last"])
        fields: Record = {
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "EMAIL": email_address(first, last, "newcomer.example"),
        }
        fields |= {"LEAD_SOURCE_ID": self._any_id("lead_sources"), "LEAD_STATUS_ID": self._status(converted=False)}
        fields |= {"OWNER_USER_ID": self._any_id("users"), "CONVERTED": False, "VISIBLE_TO": "EVERYONE"}
        lead = self.store.create("leads", fields | {"TAGS": [{"TAG_NAME": "web form"}]})
        return f"new lead {lead['LEAD_ID']}: {first} {last}"

    def convert_lead(self) -> str:
        lead = self._one("leads", lambda row: not row["CONVERTED"])
        copied = ("FIRST_NAME", "LAST_NAME", "PHONE", "TITLE", "OWNER_USER_ID", "VISIBLE_TO")
        fields = {name: lead[name] for name in copied} | {"EMAIL_ADDRESS": lead["EMAIL"], "EMAIL_OPTED_OUT": False}
        contact = self.store.create("contacts", fields)
        name = f"{lead['LAST_NAME']} - {self.rng.choice(WORDS['deals'])}"
        price = {"BID_AMOUNT": 1_000, "OPPORTUNITY_VALUE": 1_000, "BID_CURRENCY": "EUR", "BID_TYPE": "Fixed Bid"}
        fields = {"OPPORTUNITY_NAME": name, "OPPORTUNITY_STATE": "OPEN"} | price
        deal = self._create_about("contacts", contact, "opportunities", fields, "Buyer")
        converted = {
            "CONVERTED": True,
            "LEAD_STATUS_ID": self._status(converted=True),
            "CONVERTED_CONTACT_ID": contact["CONTACT_ID"],
            "CONVERTED_OPPORTUNITY_ID": deal,
            "CONVERTED_DATE_UTC": self.store.now(),
        }
        self.store.update("leads", lead["LEAD_ID"], converted)
        return f"lead {lead['LEAD_ID']} became contact {contact['CONTACT_ID']} with deal {deal}"

    def move_deal(self) -> str:
        deal = self._one("opportunities", lambda row: row["OPPORTUNITY_STATE"] == "OPEN" and row["STAGE_ID"])
        stages = [row for row in self.store.rows("pipeline_stages") if row["PIPELINE_ID"] == deal["PIPELINE_ID"]]
        if not stages:
            raise _NoRecordError
        stage = next((row for row in stages if row["STAGE_ID"] > deal["STAGE_ID"]), stages[0])
        self.store.update("opportunities", deal["OPPORTUNITY_ID"], {"STAGE_ID": stage["STAGE_ID"]})
        return f"deal {deal['OPPORTUNITY_ID']} moved to {stage['STAGE_NAME']}"

    def win_deal(self) -> str:
        now = self.store.now()
        won = {"OPPORTUNITY_STATE": "WON", "PROBABILITY": 100, "ACTUAL_CLOSE_DATE": f"{now[:10]} 00:00:00"}
        deal = self._change("opportunities", lambda row: row["OPPORTUNITY_STATE"] == "OPEN", won)
        self.store.record_state(deal, now, None)
        return f"deal {deal['OPPORTUNITY_ID']} was won"

    def complete_task(self) -> str:
        done = {"COMPLETED": True, "STATUS": "COMPLETED", "PERCENT_COMPLETE": 100}
        done |= {"COMPLETED_DATE_UTC": self.store.now()}
        task = self._change("tasks", lambda row: not row["COMPLETED"], done)["TASK_ID"]
        self.store.create("comments", {"BODY": "Done, they are happy."}, ("tasks", task))
        return f"task {task} was completed"

    def new_task(self) -> str:
        contact = self._one("contacts")
        title, due = f"Call {contact['FIRST_NAME']} {contact['LAST_NAME']}", f"{self.store.now()[:10]} 00:00:00"
        fields = {"TITLE": title, "COMPLETED": False, "STATUS": "NOT STARTED", "PRIORITY": 2, "DUE_DATE": due}
        return f"new task {self._create_about('contacts', contact, 'tasks', fields)}"

    def new_note(self) -> str:
        fields = {"TITLE": "Call summary", "BODY": "<p>They want to start next month.</p>"}
        return f"new note {self._create_about('opportunities', self._one('opportunities'), 'notes', fields)}"

    def new_email(self) -> str:
        contact, subject = self._one("contacts"), "Re: " + self.rng.choice(WORDS["subjects"])
        fields = {"EMAIL_FROM": contact["EMAIL_ADDRESS"], "EMAIL_TO": "sales@our-company.example", "SUBJECT": subject}
        fields |= {"FORMAT": "HTML", "EMAIL_DATE_UTC": self.store.now()}
        return f"new e-mail {self._create_about('contacts', contact, 'emails', fields)}"

    def delete(self, entity: str) -> str:
        key = key_of(entity, self._one(entity))
        self.store.delete(entity, key)
        return f"{LINK_NAMES[entity].lower()} {key} was deleted"

    def tag(self, entity: str) -> str:
        record, name = self._one(entity), self.rng.choice(TAGS[entity])
        key = key_of(entity, record)
        self.store.set_tags(entity, key, [tag["TAG_NAME"] for tag in record["TAGS"]] + [name])
        return f"{LINK_NAMES[entity].lower()} {key} was tagged {name!r}"

    def call_contact(self) -> str:
        contact = self._change("contacts", lambda _: True, {"LAST_ACTIVITY_DATE_UTC": self.store.now()})
        return f"contact {contact['CONTACT_ID']} was called"

    def solve_ticket(self) -> str:
        solved = {"TICKET_STATUS": "SOLVED", "DATE_SOLVED_UTC": self.store.now()}
        ticket = self._change("tickets", lambda row: row["TICKET_STATUS"] == "OPEN", solved)
        return f"ticket {ticket['TICKET_ID']} was solved"

    def sell_more(self) -> str:
        item = self._one("opportunity_line_items")
        quantity = item["QUANTITY"] + 1
        subtotal = item["UNIT_PRICE"] * quantity
        total = round(subtotal * (1 - item["DISCOUNT"] / 100), 2)
        fields = {"QUANTITY": quantity, "SUBTOTAL": subtotal, "TOTAL_PRICE": total}
        self.store.update("opportunity_line_items", item["OPPORTUNITY_ITEM_ID"], fields)
        return f"line item {item['OPPORTUNITY_ITEM_ID']} grew to {quantity}"

    def join_team(self) -> str:
        user, team = self._one("users")["USER_ID"], self._one("teams", lambda row: not row["ANONYMOUS_TEAM"])
        member = self.store.create("team_members", {"TEAM_ID": team["TEAM_ID"], "MEMBER_USER_ID": user})
        self.store.update("teams", team["TEAM_ID"], {"TEAMMEMBERS": [*team["TEAMMEMBERS"], member]})
        return f"user {user} joined the team {team['TEAM_NAME']}"

    def _one(self, entity: str, matches: Callable[[Record], Any] = lambda _: True) -> Record:
        """A record that matches, the first one from a random place on. Raises _NoRecordError."""
        keys = self.store.tables[entity].keys
        start = self.rng.randrange(len(keys)) if keys else 0
        for key in (*keys[start:], *keys[:start]):
            row = self.store.get(entity, key)
            if row is not None and matches(row):
                return row
        raise _NoRecordError

    def _any_id(self, entity: str, matches: Callable[[Record], Any] = lambda _: True) -> int | None:
        with suppress(_NoRecordError):
            return int(key_of(entity, self._one(entity, matches)))
        return None

    def _status(self, converted: bool) -> int | None:
        return self._any_id("lead_statuses", lambda row: (row["STATUS_TYPE"] == CONVERTED_STATUS) == converted)

    def _change(self, entity: str, matches: Callable[[Record], Any], fields: Record) -> Record:
        """Sets fields of a record that matches, and returns it. Raises _NoRecordError."""
        return self.store.update(entity, key_of(entity, self._one(entity, matches)), fields)

    def _create_about(
        self, entity: str, record: Record, new_entity: str, fields: Record, role: str | None = None
    ) -> int:
        """Creates a record linked to another one, with the same owner, and returns its id."""
        other = key_of(entity, record)
        link = {"LINK_OBJECT_NAME": LINK_NAMES[entity], "LINK_OBJECT_ID": other, "ROLE": role}
        made = self.store.create(new_entity, fields | {"OWNER_USER_ID": record["OWNER_USER_ID"], "LINKS": [link]})
        return int(key_of(new_entity, made))
