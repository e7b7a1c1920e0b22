"""A day of business on a store: what an incremental sync finds after the first one."""

from collections.abc import Callable
from random import Random

from pipelines.sandbox.api.reads import CONVERTED_STATUS
from pipelines.sandbox.store.shapes import Record
from pipelines.sandbox.store.store import Store

from .words import DEALS, FIRST, LAST, SUBJECTS, TAGS

_Test = Callable[[Record], bool]


def evolve(store: Store, seed: int = 1, steps: int = 25) -> list[str]:
    """Makes `steps` plausible edits, stamped by the store's clock, and says in one line each what was done.

    The same store, seed and steps give the same edits. A step that finds nothing to work on is left out.
    """
    with store.lock:
        day = _Day(store, Random(f"a day of business {seed}"))
        lines = (day.step(number) for number in range(steps))
        return [line for line in lines if line is not None]


class _Day:
    def __init__(self, store: Store, rng: Random) -> None:
        self.store = store
        self.rng = rng

    def step(self, number: int) -> str | None:
        edits = (
            self.new_lead, self.move_deal, self.complete_task, self.new_note, self.retag,
            self.win_deal, self.call_contact, self.convert_lead, self.new_task, self.drop_note,
            self.new_mail, self.solve_ticket, self.sell_more, self.tag_mail, self.drop_mail, self.join_team,
        )  # fmt: skip
        return edits[number % len(edits)]()

    def new_lead(self) -> str:
        first, last = self.rng.choice(FIRST), self.rng.choice(LAST)
        made = self.store.create(
            "leads",
            {
                "FIRST_NAME": first,
                "LAST_NAME": last,
                "EMAIL": f"{first}.{last}@newcomer.example".lower().replace("'", ""),
                "LEAD_SOURCE_ID": self._any("lead_sources", "LEAD_SOURCE_ID"),
                "LEAD_STATUS_ID": self._status(converted=False),
                "CONVERTED": False,
                "OWNER_USER_ID": self._any("users", "USER_ID"),
                "VISIBLE_TO": "EVERYONE",
                "TAGS": [{"TAG_NAME": "web form"}],
            },
        )
        return f"new lead {made['LEAD_ID']}: {first} {last}"

    def convert_lead(self) -> str | None:
        lead = self._one("leads", lambda row: not row["CONVERTED"])
        if lead is None:
            return None
        contact = self.store.create(
            "contacts",
            {name: lead[name] for name in ("FIRST_NAME", "LAST_NAME", "PHONE", "TITLE", "OWNER_USER_ID", "VISIBLE_TO")}
            | {"EMAIL_ADDRESS": lead["EMAIL"], "EMAIL_OPTED_OUT": False},
        )
        deal = self.store.create(
            "opportunities",
            {
                "OPPORTUNITY_NAME": f"{lead['LAST_NAME']} - {self.rng.choice(DEALS)}",
                "OPPORTUNITY_STATE": "OPEN",
                "BID_AMOUNT": 1_000,
                "OPPORTUNITY_VALUE": 1_000,
                "BID_CURRENCY": "EUR",
                "BID_TYPE": "Fixed Bid",
                "OWNER_USER_ID": lead["OWNER_USER_ID"],
                "LINKS": [{"LINK_OBJECT_NAME": "Contact", "LINK_OBJECT_ID": contact["CONTACT_ID"], "ROLE": "Buyer"}],
            },
        )
        self.store.update(
            "leads",
            lead["LEAD_ID"],
            {
                "CONVERTED": True,
                "LEAD_STATUS_ID": self._status(converted=True),
                "CONVERTED_CONTACT_ID": contact["CONTACT_ID"],
                "CONVERTED_OPPORTUNITY_ID": deal["OPPORTUNITY_ID"],
                "CONVERTED_DATE_UTC": self.store.now(),
            },
        )
        return f"lead {lead['LEAD_ID']} became contact {contact['CONTACT_ID']} with deal {deal['OPPORTUNITY_ID']}"

    def move_deal(self) -> str | None:
        deal = self._one(
            "opportunities", lambda row: row["OPPORTUNITY_STATE"] == "OPEN" and row["STAGE_ID"] is not None
        )
        stages = deal and [
            row for row in self.store.rows("pipeline_stages") if row["PIPELINE_ID"] == deal["PIPELINE_ID"]
        ]
        if not deal or not stages:
            return None
        later = [row for row in stages if row["STAGE_ID"] > deal["STAGE_ID"]]
        stage = (later or stages)[0]
        self.store.update("opportunities", deal["OPPORTUNITY_ID"], {"STAGE_ID": stage["STAGE_ID"]})
        return f"deal {deal['OPPORTUNITY_ID']} moved to {stage['STAGE_NAME']}"

    def win_deal(self) -> str | None:
        deal = self._one("opportunities", lambda row: row["OPPORTUNITY_STATE"] == "OPEN")
        if deal is None:
            return None
        now = self.store.now()
        won = {"OPPORTUNITY_STATE": "WON", "PROBABILITY": 100, "ACTUAL_CLOSE_DATE": f"{now[:10]} 00:00:00"}
        self.store.record_state(self.store.update("opportunities", deal["OPPORTUNITY_ID"], won), now, None)
        return f"deal {deal['OPPORTUNITY_ID']} was won"

    def complete_task(self) -> str | None:
        task = self._one("tasks", lambda row: not row["COMPLETED"])
        if task is None:
            return None
        done = {"COMPLETED": True, "STATUS": "COMPLETED", "PERCENT_COMPLETE": 100}
        done["COMPLETED_DATE_UTC"] = self.store.now()
        self.store.update("tasks", task["TASK_ID"], done)
        self.store.child_rows.add("comments", "tasks", task["TASK_ID"], {"BODY": "Done, they are happy."})
        return f"task {task['TASK_ID']} was completed"

    def new_task(self) -> str | None:
        contact = self._one("contacts")
        if contact is None:
            return None
        fields = {
            "TITLE": f"Call {contact['FIRST_NAME']} {contact['LAST_NAME']}",
            "COMPLETED": False,
            "STATUS": "NOT STARTED",
            "PRIORITY": 2,
            "DUE_DATE": f"{self.store.now()[:10]} 00:00:00",
            "OWNER_USER_ID": contact["OWNER_USER_ID"],
            "LINKS": [{"LINK_OBJECT_NAME": "Contact", "LINK_OBJECT_ID": contact["CONTACT_ID"]}],
        }
        return f"new task {self.store.create('tasks', fields)['TASK_ID']}"

    def new_note(self) -> str | None:
        deal = self._one("opportunities")
        if deal is None:
            return None
        fields = {
            "TITLE": "Call summary",
            "BODY": "<p>They want to start next month.</p>",
            "OWNER_USER_ID": deal["OWNER_USER_ID"],
            "LINKS": [{"LINK_OBJECT_NAME": "Opportunity", "LINK_OBJECT_ID": deal["OPPORTUNITY_ID"]}],
        }
        return f"new note {self.store.create('notes', fields)['NOTE_ID']}"

    def drop_note(self) -> str | None:
        note = self._one("notes")
        if note is None:
            return None
        self.store.delete("notes", note["NOTE_ID"])
        return f"note {note['NOTE_ID']} was deleted"

    def retag(self) -> str | None:
        contact = self._one("contacts")
        if contact is None:
            return None
        name = self.rng.choice(TAGS["contacts"])
        self.store.set_tags("contacts", contact["CONTACT_ID"], [tag["TAG_NAME"] for tag in contact["TAGS"]] + [name])
        return f"contact {contact['CONTACT_ID']} was tagged {name!r}"

    def call_contact(self) -> str | None:
        contact = self._one("contacts")
        if contact is None:
            return None
        self.store.update("contacts", contact["CONTACT_ID"], {"LAST_ACTIVITY_DATE_UTC": self.store.now()})
        return f"contact {contact['CONTACT_ID']} was called"

    def new_mail(self) -> str | None:
        contact = self._one("contacts")
        if contact is None:
            return None
        fields = {
            "EMAIL_FROM": contact["EMAIL_ADDRESS"],
            "EMAIL_TO": "sales@our-company.example",
            "SUBJECT": "Re: " + self.rng.choice(SUBJECTS),
            "FORMAT": "HTML",
            "EMAIL_DATE_UTC": self.store.now(),
            "OWNER_USER_ID": contact["OWNER_USER_ID"],
            "LINKS": [{"LINK_OBJECT_NAME": "Contact", "LINK_OBJECT_ID": contact["CONTACT_ID"]}],
        }
        return f"new e-mail {self.store.create('emails', fields)['EMAIL_ID']}"

    def tag_mail(self) -> str | None:
        mail = self._one("emails")
        if mail is None:
            return None
        self.store.set_tags("emails", mail["EMAIL_ID"], [self.rng.choice(TAGS["emails"])])
        return f"e-mail {mail['EMAIL_ID']} was tagged"

    def drop_mail(self) -> str | None:
        mail = self._one("emails")
        if mail is None:
            return None
        self.store.delete("emails", mail["EMAIL_ID"])
        return f"e-mail {mail['EMAIL_ID']} was deleted"

    def solve_ticket(self) -> str | None:
        ticket = self._one("tickets", lambda row: row["TICKET_STATUS"] == "OPEN")
        if ticket is None:
            return None
        self.store.update(
            "tickets", ticket["TICKET_ID"], {"TICKET_STATUS": "SOLVED", "DATE_SOLVED_UTC": self.store.now()}
        )
        return f"ticket {ticket['TICKET_ID']} was solved"

    def sell_more(self) -> str | None:
        item = self._one("opportunity_line_items")
        if item is None:
            return None
        quantity = item["QUANTITY"] + 1
        subtotal = item["UNIT_PRICE"] * quantity
        total = round(subtotal * (1 - item["DISCOUNT"] / 100), 2)
        fields = {"QUANTITY": quantity, "SUBTOTAL": subtotal, "TOTAL_PRICE": total}
        self.store.update("opportunity_line_items", item["OPPORTUNITY_ITEM_ID"], fields)
        return f"line item {item['OPPORTUNITY_ITEM_ID']} grew to {quantity}"

    def join_team(self) -> str | None:
        user, team = self._one("users"), self._one("teams", lambda row: not row["ANONYMOUS_TEAM"])
        if user is None or team is None:
            return None
        fields = {"TEAM_ID": team["TEAM_ID"], "MEMBER_USER_ID": user["USER_ID"]}
        made = self.store.create("team_members", fields)
        self.store.update("teams", team["TEAM_ID"], {"TEAMMEMBERS": [*team["TEAMMEMBERS"], made]})
        return f"user {user['USER_ID']} joined the team {team['TEAM_NAME']}"

    def _one(self, entity: str, wanted: "_Test" = lambda _: True) -> Record | None:
        """A record that is `wanted`: the first from a random place on, so large accounts are not read whole."""
        keys = self.store.tables[entity].keys
        start = self.rng.randrange(len(keys)) if keys else 0
        for key in (*keys[start:], *keys[:start]):
            row = self.store.get(entity, key)
            if row is not None and wanted(row):
                return row
        return None

    def _any(self, entity: str, column: str) -> int | None:
        row = self._one(entity)
        return None if row is None else row[column]

    def _status(self, converted: bool) -> int | None:
        row = self._one("lead_statuses", lambda row: (row["STATUS_TYPE"] == CONVERTED_STATUS) == converted)
        return None if row is None else row["LEAD_STATUS_ID"]
