"""Generated e-mails, document templates, prospects and their visits."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .people import custom, dated
from .story import DAY, Story
from .words import FIRST, INDUSTRIES, LAST, SENTENCES, SUBJECTS, email_address, nth

_TEMPLATES = {"Offer": "Opportunity", "Contract": "Opportunity", "Welcome letter": "Contact", "Report": "Project"}
_SOURCES = (("search", "organic"), ("newsletter", "email"), ("partner site", "referral"))


def emails(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("emails"):
        contact = story.earlier("contacts", number / story.size["emails"])
        sender = email_address(*story.contact_names[contact], story.domain(story.employer[contact]))
        recipient, sent = "sales@our-company.example", number % 3 > 0
        if sent:
            sender, recipient = recipient, sender
        date = story.calendar.at(max(created, story.created["contacts"][contact]))
        record |= {
            "EMAIL_FROM": sender,
            "EMAIL_TO": recipient,
            "SUBJECT": f"{'' if sent else 'Re: '}{story.pick(SUBJECTS)}",
            "BODY": f"<p>{nth(SENTENCES, number)}</p>",
            "FORMAT": "HTML",
            "SIZE": 900 + number * 331 % 60_000,
            "EMAIL_DATE_UTC": date,
            "DATE_CREATED_UTC": date,
        }
        record["OWNER_USER_ID"] = record["CREATED_USER_ID"] = story.user()
        story.connect(("emails", number), ("contacts", contact), both=False)
        yield record


def document_templates(story: Story) -> Iterator[Record]:
    for number, (name, about) in enumerate(_TEMPLATES.items()):
        yield blank("document_templates") | {
            "TEMPLATE_ID": 4_001 + number,
            "TEMPLATE_NAME": name,
            "TEMPLATE_FILE_TYPE": "docx",
            "RELATED_OBJECT_NAME": about,
            "ACTIVE": number < 3,
            "DATE_CREATED_UTC": story.calendar.at(story.start + number * DAY),
        }


def prospects(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("prospects"):
        lead, first, last = number * 3, nth(FIRST, number * 7), nth(LAST, number * 11)
        record |= {
            "LEAD_ID": story.id("leads", lead) if number % 4 == 0 and lead < story.size["leads"] else None,
            "FIRST_NAME": first,
            "LAST_NAME": last,
            "ORGANISATION_NAME": story.organisation_name(story.size["organisations"] + number),
            "EMAIL_ADDRESS": email_address(first, f"{last}{number}", "visitor.example"),
            "INDUSTRY": nth(INDUSTRIES, number),
            "SCORE": number * 13 % 100,
            "GRADE": "ABCD"[number % 4],
            "DO_NOT_SYNC": False,
        }
        record |= dict.fromkeys(("DO_NOT_EMAIL", "DO_NOT_CALL", "OPTED_OUT"), number % 17 == 0)
        dated(record, story, created)
        custom(record, Region__c=("North", "South")[number % 2] if number % 3 else None)
        yield record


def marketing_visits(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("marketing_visits"):
        source, medium = _SOURCES[number % len(_SOURCES)]
        yield record | {
            "PROSPECT_ID": story.id("prospects", number % story.size["prospects"]),
            "MKT_SOURCE": source,
            "MKT_MEDIUM": medium,
            "PAGE_REFERRER": f"https://www.{source.replace(' ', '-')}.example/",
            "PAGE_VIEW_COUNT": 1 + number % 9,
            "FIRST_PAGE_VIEW_DATE_UTC": story.calendar.at(created),
            "LAST_PAGE_VIEW_DATE_UTC": story.calendar.at(created + 60 * (number % 9)),
        }
