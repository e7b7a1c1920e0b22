"""Generated tasks, events, notes, e-mails, and what customers and visitors write and read: what makes their story."""

from pipelines.sandbox.store.shapes import Record

from .data import WORDS, email_address, nth
from .fill import Row
from .story import DAY, at, day

_FOLLOWED = (("CONTACT", "contacts"), ("OPPORTUNITY", "opportunities"), ("ORGANISATION", "organisations"))


def tasks(row: Row) -> Record:
    story, number, random = row.story, row.number, row.story.rng.random
    kind, about, name = _subject(row, ("contacts", "opportunities", "projects", "leads"))
    due = row.created + int((1 + 45 * random() ** 2) * DAY)
    done = due < story.now and random() < 0.85
    completed = max(due - int(random() * 3 * DAY), row.created)
    status = "NOT STARTED" if random() < 0.5 else "IN PROGRESS" if random() < 0.7 else "WAITING"
    row.earliest = completed if done else row.created
    return {
        "TITLE": story.pick(WORDS["tasks"]).format(name),
        "DUE_DATE": day(due),
        "COMPLETED": done,
        "COMPLETED_DATE_UTC": at(completed) if done else None,
        "STATUS": "COMPLETED" if done else status,
        "START_DATE": day(row.created) if number % 3 == 0 else None,
        "PERCENT_COMPLETE": 100 if done else 0 if status == "NOT STARTED" else 50,
        "OPPORTUNITY_ID": about if kind == "opportunities" else None,
        "PROJECT_ID": about if kind == "projects" else None,
    }


def events(row: Row) -> Record:
    story, number, random = row.story, row.number, row.story.rng.random
    *_, name = _subject(row, ("contacts", "opportunities", "organisations"))
    begins = (row.created + int(random() * 30 * DAY)) // 1_800 * 1_800 + 1_800
    return {
        "TITLE": story.pick(WORDS["events"]).format(name),
        "LOCATION": "Online" if number % 2 else story.city(number)[0],
        "START_DATE_UTC": at(begins),
        "END_DATE_UTC": at(begins + 3_600),
        "ALL_DAY": number % 25 == 0,
        "REMINDER_DATE_UTC": at(begins - 900) if number % 2 else None,
        "REMINDER_SENT": number % 2 == 1 and begins - 900 < story.now,
    }


def notes(row: Row) -> Record:
    *_, name = _subject(row, ("contacts", "opportunities", "organisations", "projects", "leads"))
    sentences = row.story.pick(WORDS["sentences"]), nth(WORDS["sentences"], row.number)
    return {"TITLE": f"{nth(WORDS['notes'], row.number)}: {name}"[:255], "BODY": f"<p>{' '.join(sentences)}</p>"}


def emails(row: Row) -> Record:
    story, number = row.story, row.number
    contact = story.earlier("contacts", number / story.size["emails"])
    ends = [
        email_address(*story.contact_names[contact], story.domain(story.employer[contact])),
        "sales@our-company.example",
    ]
    row.ref("contacts", contact)
    story.connect(("emails", number), ("contacts", contact), both=False)
    return {
        "EMAIL_FROM": ends[number % 3 > 0],
        "EMAIL_TO": ends[number % 3 == 0],
        "SUBJECT": f"{'' if number % 3 else 'Re: '}{story.pick(WORDS['subjects'])}",
    }


def milestones(row: Row) -> Record:
    project = row.ref("projects", row.number * 3 % row.story.size["projects"])
    due = row.created + (7 + row.number % 60) * DAY
    done = due < row.story.now and row.number % 6 != 0
    row.earliest = due if done else row.created
    return {
        "PROJECT_ID": project,
        "COMPLETED": done,
        "DUE_DATE": day(due),
        "COMPLETED_DATE_UTC": at(due) if done else None,
    }


def team_members(row: Row) -> Record:
    """Each user is in one of two teams, and some in both."""
    users = row.story.size["users"]
    team, user = (row.number // users + row.number % users) % 2, row.number % users
    return {"TEAM_ID": row.ref("teams", team), "MEMBER_USER_ID": row.story.id("users", user)}


def teams(row: Row) -> Record:
    numbers = range(row.story.size["team_members"])
    members = (Row(row.story, "team_members", number, row.created) for number in numbers)
    made = [{"PERMISSION_ID": member.id} | team_members(member) for member in members]
    return {"TEAMMEMBERS": [member for member in made if member["TEAM_ID"] == row.id]}


def follows(row: Row) -> Record:
    number, place = divmod(row.number, len(_FOLLOWED))
    kind, entity = _FOLLOWED[place]
    return {"RECORD_TYPE": kind, "RECORD_ID": row.story.id(entity, number)}


def knowledge_articles(row: Row) -> Record:
    number, published = row.number, row.number % 5 != 4
    folder = number % row.story.size["knowledge_article_folders"]
    return {
        "FOLDER_ID": row.story.id("knowledge_article_folders", folder),
        "CATEGORY_ID": row.story.id("knowledge_article_categories", folder // 2),
        "FIRST_PUBLISHED_DATE_UTC": at(row.created) if published else None,
        "LAST_PUBLISHED_DATE_UTC": at(row.created) if published else None,
        "ARCHIVED_DATE_UTC": None if number % 10 else at(row.created),
    }


def community_posts(row: Row) -> Record:
    asked = row.story.earlier("tickets", row.number / row.story.size["community_posts"])
    return {
        "FORUM_ID": row.story.id("community_forums", row.number % row.story.size["community_forums"]),
        "TICKET_ID": None if row.number % 6 else str(row.story.id("tickets", asked)),
    }


def community_comments(row: Row) -> Record:
    post, forums = row.number % row.story.size["community_posts"], row.story.size["community_forums"]
    return {
        "POST_ID": row.ref("community_posts", post),
        "FORUM_ID": row.story.id("community_forums", post % forums),
        "ANSWER": row.number % 4 == 0,
    }


def child_row(row: Row, place: int, record: Record) -> Record:
    """The values of the child row at a place below a record."""
    match row.entity:
        case "comments":
            return {"BODY": row.story.pick(WORDS["sentences"])}
        case "static_list_memberships":
            return {"LIST_ID": 4_001 + place}
        case "quotation_documents":
            return {"QUOTATION_NAME": record["QUOTATION_NAME"], "FILE_ID": str(920_000 + row.number)}
        case "ticket_comments" if place % 2:
            return {"AUTHOR_CONTACT_ID": None}
        case "ticket_comments":
            return {"AUTHOR_CONTACT_ID": record["CONTACT_ID"], "CREATED_USER_ID": None}
    return {"FILE_SIZE": 9_000 + row.number * 7_919 % 4_000_000}


def _subject(row: Row, kinds: tuple[str, ...]) -> tuple[str, int, str]:
    """Links a record to another one of `kinds`, which exists when it is created.

    Returns the other record's entity and id, and how a title names it.
    """
    story, entity, number = row.story, row.entity, row.number
    kind = kinds[int(story.rng.random() ** 1.5 * len(kinds))]
    other = story.earlier(kind, number / story.size[entity])
    if kind == "contacts":
        name = " ".join(story.contact_names[other])
    elif kind == "organisations":
        name = story.organisation_name(other)
    elif kind == "opportunities":
        name = story.organisation_name(story.employer[story.buyer[other]])
    else:
        name = "the project team" if kind == "projects" else "the new lead"
    story.connect((entity, number), (kind, other), both=False)
    return kind, row.ref(kind, other), name
