"""The records of teams, of what their projects and tasks are made of, and of what the key's user follows."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .story import Story
from .words import SENTENCES

TEAMS = ("Sales", "Delivery", "Shared with 2 people")
SETS = (
    ("New customer", ("Welcome call", "Send the contract", "Kick-off")),
    ("Renewal", ("Ask for feedback",)),
    ("Nothing yet", ()),
)
_TASK_CATEGORY = 7_201
_FOLLOWED = {"CONTACT": "contacts", "OPPORTUNITY": "opportunities", "ORGANISATION": "organisations"}


def teams(story: Story) -> Iterator[Record]:
    """The last one was made by sharing a record, as the service does, and is not named by a person."""
    members = list(team_members(story))
    for number, name in enumerate(TEAMS):
        record = blank("teams")
        record |= {"TEAM_ID": 5_001 + number, "TEAM_NAME": name, "ANONYMOUS_TEAM": number == len(TEAMS) - 1}
        record["DATE_CREATED_UTC"] = record["DATE_UPDATED_UTC"] = story.calendar.at(story.start + number * 86_400)
        record["TEAMMEMBERS"] = [dict(member) for member in members if member["TEAM_ID"] == record["TEAM_ID"]]
        yield record


def team_members(story: Story) -> Iterator[Record]:
    """Users are in one team, and each third one in another as well."""
    users = range(story.size["users"])
    pairs = [(0, user) for user in users if user % 2 == 0] + [(1, user) for user in users if user % 2 or user % 3 == 0]
    for number, (team, user) in enumerate(pairs):
        record = blank("team_members")
        record["PERMISSION_ID"], record["TEAM_ID"] = story.id("team_members", number), 5_001 + team
        record["MEMBER_USER_ID"] = story.id("users", user)
        yield record


def activity_sets(story: Story) -> Iterator[Record]:
    for number, (name, steps) in enumerate(SETS):
        record = blank("activity_sets")
        record |= {"ACTIVITYSET_ID": 5_101 + number, "NAME": name, "OWNER_USER_ID": story.id("users", 0)}
        record |= dict.fromkeys(("FOR_CONTACTS", "FOR_ORGANISATIONS", "FOR_LEADS"), False)
        record |= {"FOR_OPPORTUNITIES": number == 1, "FOR_PROJECTS": number != 1}
        record["ACTIVITIES"] = [_activity(5_101 + number, place, step) for place, step in enumerate(steps)]
        yield record


def milestones(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.more("milestones")):
        record, project = blank("milestones"), number * 3 % story.size["projects"]
        created = max(created, story.created["projects"][project])
        due = created + (7 + number % 60) * 86_400
        done = due < story.now and number % 6 != 0
        record["MILESTONE_ID"], record["PROJECT_ID"] = story.id("milestones", number), story.id("projects", project)
        record["TITLE"] = ("Design approved", "Delivered", "Signed off")[number % 3]
        record["COMPLETED"], record["DUE_DATE"] = done, story.calendar.day(due)
        record["COMPLETED_DATE_UTC"] = story.calendar.at(due) if done else None
        record["OWNER_USER_ID"] = record["RESPONSIBLE_USER"] = story.user()
        record["DATE_CREATED_UTC"] = story.calendar.at(created)
        record["DATE_UPDATED_UTC"] = story.calendar.at(due if done else created)
        yield record


def follows(story: Story) -> Iterator[Record]:
    for number in range(story.many("follows")):
        kind = tuple(_FOLLOWED)[number % len(_FOLLOWED)]
        entity = _FOLLOWED[kind]
        if number // len(_FOLLOWED) < story.size[entity]:
            yield {"RECORD_TYPE": kind, "RECORD_ID": story.id(entity, number // len(_FOLLOWED))}


def _activity(set_id: int, place: int, name: str) -> Record:
    days = {f"SKIP_{day}": day in ("SUN", "SAT") for day in ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")}
    return {
        "ACTIVITY_ID": set_id * 10 + place,
        "ACTIVITYSET_ID": set_id,
        "ACTIVITY_NAME": name,
        "ACTIVITY_DETAILS": SENTENCES[place],
        "ACTIVITY_TYPE": "TASK",
        "CATEGORY_ID": _TASK_CATEGORY,
        "REMINDER": place == 0,
        "REMINDER_DAYS_BEFORE_DUE": 1 if place == 0 else None,
        "REMINDER_TIME": "9:00 AM" if place == 0 else None,
        "PUBLICLY_VISIBLE": True,
        "OWNER_VISIBLE": True,
        "OWNER_USER_ID": None,
        "RESPONSIBLE_USER_ID": None,
        "ASSIGNED_TEAM_ID": None,
        **days,
        "DUE_DAYS_AFTER_START": 3 * place,
        "DUE_DAYS_BEFORE_END": None,
        "EVENT_DAYS_AFTER_START": None,
        "EVENT_DAYS_BEFORE_END": None,
        "EVENT_TIME": None,
        "ALL_DAY": None,
        "DURATION": None,
    }
