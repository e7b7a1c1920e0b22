"""Generated teams, activity sets, milestones, and the records that the key's user follows."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank
from sources.insightly.entities import child_fields

from .reference import CATEGORY_IDS
from .story import DAY, Story
from .words import SENTENCES, nth

_TEAMS = ("Sales", "Delivery", "Shared with 2 people")
_SETS = {
    "New customer": ("Welcome call", "Send the contract", "Kick-off"),
    "Renewal": ("Ask for feedback",),
    "Nothing yet": (),
}
_MILESTONES = ("Design approved", "Delivered", "Signed off")
_FOLLOWED = (("CONTACT", "contacts"), ("OPPORTUNITY", "opportunities"), ("ORGANISATION", "organisations"))


def teams(story: Story) -> Iterator[Record]:
    """The last team is one that the service makes when a record is shared: it is anonymous."""
    members = list(team_members(story))
    for number, name in enumerate(_TEAMS):
        key, created = 5_001 + number, story.calendar.at(story.start + number * DAY)
        yield blank("teams") | {
            "TEAM_ID": key,
            "TEAM_NAME": name,
            "ANONYMOUS_TEAM": number == len(_TEAMS) - 1,
            "DATE_CREATED_UTC": created,
            "DATE_UPDATED_UTC": created,
            "TEAMMEMBERS": [member for member in members if member["TEAM_ID"] == key],
        }


def team_members(story: Story) -> Iterator[Record]:
    """Each user is in one of two teams, and some in both."""
    users = range(story.size["users"])
    pairs = [(0, user) for user in users if user % 2 == 0] + [(1, user) for user in users if user % 2 or user % 3 == 0]
    for number, (team, user) in enumerate(pairs):
        member = {"TEAM_ID": 5_001 + team, "MEMBER_USER_ID": story.id("users", user)}
        yield story.blank("team_members", number) | member


def activity_sets(story: Story) -> Iterator[Record]:
    for number, (name, steps) in enumerate(_SETS.items()):
        record = blank("activity_sets")
        record |= {"ACTIVITYSET_ID": 5_101 + number, "NAME": name, "OWNER_USER_ID": story.id("users", 0)}
        record |= dict.fromkeys(("FOR_CONTACTS", "FOR_ORGANISATIONS", "FOR_LEADS"), False)
        record |= {"FOR_OPPORTUNITIES": number == 1, "FOR_PROJECTS": number != 1}
        record["ACTIVITIES"] = [_activity(5_101 + number, place, step) for place, step in enumerate(steps)]
        yield record


def milestones(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("milestones"):
        project = number * 3 % story.size["projects"]
        created = max(created, story.created["projects"][project])
        due = created + (7 + number % 60) * DAY
        done = due < story.now and number % 6 != 0
        record |= {
            "PROJECT_ID": story.id("projects", project),
            "TITLE": nth(_MILESTONES, number),
            "COMPLETED": done,
            "DUE_DATE": story.calendar.day(due),
            "COMPLETED_DATE_UTC": story.calendar.at(due) if done else None,
            "DATE_CREATED_UTC": story.calendar.at(created),
            "DATE_UPDATED_UTC": story.calendar.at(due if done else created),
        }
        record["OWNER_USER_ID"] = record["RESPONSIBLE_USER"] = story.user()
        yield record


def follows(story: Story) -> Iterator[Record]:
    for number in range(story.size["follows"]):
        record, (kind, entity) = number // len(_FOLLOWED), _FOLLOWED[number % len(_FOLLOWED)]
        if record < story.size[entity]:
            yield {"RECORD_TYPE": kind, "RECORD_ID": story.id(entity, record)}


def _activity(set_id: int, place: int, name: str) -> Record:
    first = place == 0
    return (
        dict.fromkeys(child_fields("ACTIVITIES"))
        | {f"SKIP_{day}": day in ("SUN", "SAT") for day in ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")}
        | {
            "ACTIVITY_ID": set_id * 10 + place,
            "ACTIVITYSET_ID": set_id,
            "ACTIVITY_NAME": name,
            "ACTIVITY_DETAILS": SENTENCES[place],
            "ACTIVITY_TYPE": "TASK",
            "CATEGORY_ID": CATEGORY_IDS["task_categories"],
            "REMINDER": first,
            "REMINDER_DAYS_BEFORE_DUE": 1 if first else None,
            "REMINDER_TIME": "9:00 AM" if first else None,
            "PUBLICLY_VISIBLE": True,
            "OWNER_VISIBLE": True,
            "DUE_DAYS_AFTER_START": 3 * place,
        }
    )
