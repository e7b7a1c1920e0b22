"""The records of e-mails, document templates, prospects and their visits, written from the story."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .people import custom, dated, tags
from .story import Story
from .words import FIRST, INDUSTRIES, LAST, SENTENCES, SUBJECTS

TEMPLATES = (
    ("Offer", "Opportunity"),
    ("Contract", "Opportunity"),
    ("Welcome letter", "Contact"),
    ("Report", "Project"),
)
_SOURCES = (("search", "organic"), ("newsletter", "email"), ("partner site", "referral"))


def emails(story: Story) -> Iterator[Record]:
    created_at = story.more("emails")
    for number, created in enumerate(created_at):
        record, contact = blank("emails"), story.earlier("contacts", number / len(created_at))
        first, last = story.contact_name(contact)
        theirs = f"{first}.{last}@{story.domain(story.employer[contact])}".lower().replace("'", "")
        ours, sent = "sales@our-company.example", number % 3 > 0
        created = max(created, story.created["contacts"][contact])
        record["EMAIL_ID"] = story.id("emails", number)
        record["EMAIL_FROM"], record["EMAIL_TO"] = (ours, theirs) if sent else (theirs, ours)
        record["SUBJECT"] = f"{'' if sent else 'Re: '}{SUBJECTS[int(story.rng.random() * len(SUBJECTS))]}"
        record["BODY"] = f"<p>{SENTENCES[number % len(SENTENCES)]}</p>"
        record["FORMAT"], record["SIZE"] = "HTML", 900 + number * 331 % 60_000
        record["EMAIL_DATE_UTC"] = record["DATE_CREATED_UTC"] = story.calendar.at(created)
        record["OWNER_USER_ID"] = record["CREATED_USER_ID"] = story.user()
        record["TAGS"] = tags(story, "emails")
        story.connect(("emails", number), ("contacts", contact), both=False)
        record["LINKS"] = story.links_of("emails", number)
        yield record


def document_templates(story: Story) -> Iterator[Record]:
    for number, (name, about) in enumerate(TEMPLATES):
        record = blank("document_templates")
        record |= {"TEMPLATE_ID": 4_001 + number, "TEMPLATE_NAME": name, "TEMPLATE_FILE_TYPE": "docx"}
        record |= {"RELATED_OBJECT_NAME": about, "ACTIVE": number < 3}
        record["DATE_CREATED_UTC"] = story.calendar.at(story.start + number * 86_400)
        yield record


def prospects(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.more("prospects")):
        record, lead = blank("prospects"), number * 3 if number % 4 == 0 else None
        first, last = FIRST[number * 7 % len(FIRST)], LAST[number * 11 % len(LAST)]
        record["PROSPECT_ID"] = story.id("prospects", number)
        record["LEAD_ID"] = story.id("leads", lead) if lead is not None and lead < story.size["leads"] else None
        record["FIRST_NAME"], record["LAST_NAME"] = first, last
        record["ORGANISATION_NAME"] = story.organisation_name(story.size["organisations"] + number)
        record["EMAIL_ADDRESS"] = f"{first}.{last}{number}@visitor.example".lower().replace("'", "")
        record["INDUSTRY"] = INDUSTRIES[number % len(INDUSTRIES)]
        record["SCORE"], record["GRADE"] = number * 13 % 100, "ABCD"[number % 4]
        record["DO_NOT_EMAIL"] = record["DO_NOT_CALL"] = record["OPTED_OUT"] = number % 17 == 0
        record["DO_NOT_SYNC"] = False
        dated(record, story, created)
        custom(record, Region__c=("North", "South")[number % 2] if number % 3 else None)
        record["TAGS"] = tags(story, "prospects")
        yield record


def marketing_visits(story: Story) -> Iterator[Record]:
    prospects = story.many("prospects")
    for number, created in enumerate(story.more("marketing_visits")):
        record, (source, medium) = blank("marketing_visits"), _SOURCES[number % len(_SOURCES)]
        record["VISIT_ID"] = story.id("marketing_visits", number)
        record["PROSPECT_ID"] = story.id("prospects", number % prospects)
        record["MKT_SOURCE"], record["MKT_MEDIUM"] = source, medium
        record["PAGE_REFERRER"] = f"https://www.{source.replace(' ', '-')}.example/"
        record["PAGE_VIEW_COUNT"] = 1 + number % 9
        record["FIRST_PAGE_VIEW_DATE_UTC"] = story.calendar.at(created)
        record["LAST_PAGE_VIEW_DATE_UTC"] = story.calendar.at(created + 60 * (number % 9))
        yield record
