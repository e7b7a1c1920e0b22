"""Generated tickets, knowledge articles, and the customers' forum."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .people import custom, dated
from .story import DAY, Story
from .words import ARTICLES, SENTENCES, TROUBLES, nth

_ARTICLE_CATEGORIES = {"Devices": ("Sensors", "Controllers"), "Business": ("Invoices", "Contracts")}
"""Categories of articles, and the folders of each."""
_FORUM_CATEGORIES = {"Customers": ("Questions", "Ideas"), "Partners": ("Resale",)}
"""Categories of forums, and the forums of each."""
_FOLDERS = [folder for folders in _ARTICLE_CATEGORIES.values() for folder in folders]
_FORUMS = [forum for forums in _FORUM_CATEGORIES.values() for forum in forums]


def tickets(story: Story) -> Iterator[Record]:
    random = story.rng.random
    for number, created, record in story.records("tickets"):
        contact = story.earlier("contacts", number / story.size["tickets"])
        created = max(created, story.created["contacts"][contact])
        solved = created + int((1 + 20 * random()) * DAY)
        closed = solved < story.now
        record |= {
            "TICKET_NUMBER": str(number + 1),
            "CONTACT_ID": story.id("contacts", contact),
            "ORGANISATION_ID": story.id("organisations", story.employer[contact]),
            "SUBJECT": nth(TROUBLES, number),
            "TICKET_TYPE": ("PROBLEM", "QUESTION")[number % 2],
            "PRIORITY": story.pick(("LOW", "NORMAL", "HIGH")),
            "SOURCE": ("EMAIL", "PORTAL")[number % 2],
            "TicketCommentBodyHtml": f"<p>{nth(SENTENCES, number)}</p>",
            "TICKET_STATUS": "CLOSED" if closed else "OPEN",
        }
        if closed:
            record["DATE_SOLVED_UTC"] = record["DATE_CLOSED_UTC"] = story.calendar.at(solved)
        dated(record, story, created, solved if closed else None)
        custom(record, Serial_No__c=f"SN{number * 7_919 % 100_000:05}" if number % 3 else None)
        yield record


def knowledge_article_categories(story: Story) -> Iterator[Record]:
    for number, name in enumerate(_ARTICLE_CATEGORIES):
        fields = {"CATEGORY_ID": 4_101 + number, "CATEGORY_NAME": name, "DESCRIPTION": f"All about {name.lower()}"}
        yield _listed(story, "knowledge_article_categories", number, fields)


def knowledge_article_folders(story: Story) -> Iterator[Record]:
    for number, name in enumerate(_FOLDERS):
        fields = {"FOLDER_ID": 4_201 + number, "FOLDER_NAME": name, "CATEGORY_ID": str(4_101 + number // 2)}
        fields |= {"VISIBILITY": "PUBLIC", "ORDER_ARTICLES": "MANUAL"}
        yield _listed(story, "knowledge_article_folders", number, fields)


def knowledge_articles(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("knowledge_articles"):
        folder, published = number % len(_FOLDERS), number % 5 != 4
        title = f"{nth(ARTICLES, number)}, part {number // len(ARTICLES) + 1}"
        record |= {
            "ARTICLE_NO": number + 1,
            "FOLDER_ID": 4_201 + folder,
            "CATEGORY_ID": 4_101 + folder // 2,
            "ArticleVersion": "1",
            "Language": "en",
            "ExternalLinkCount": "0",
            "Title": title,
            "URL_SLUG": title.lower().replace(",", "").replace(" ", "-"),
            "Body": f"<p>{nth(SENTENCES, number)}</p>",
            "UPVOTE_COUNT": number * 3 % 20,
            "DOWNVOTE_COUNT": number % 3,
            "PROMOTED": number % 7 == 0,
            "Status": "PUBLISHED" if published else "DRAFT",
        }
        dated(record, story, created)
        if published:
            record["FIRST_PUBLISHED_DATE_UTC"] = record["DATE_CREATED_UTC"]
            record["LAST_PUBLISHED_DATE_UTC"] = record["DATE_UPDATED_UTC"]
        yield record


def forum_categories(story: Story) -> Iterator[Record]:
    for number, name in enumerate(_FORUM_CATEGORIES):
        fields = {"FORUM_CATEGORY_ID": 4_301 + number, "CATEGORY_NAME": name}
        yield _listed(story, "forum_categories", number, fields)


def community_forums(story: Story) -> Iterator[Record]:
    for number, name in enumerate(_FORUMS):
        fields = {"FORUM_ID": 4_401 + number, "FORUM_CATEGORY_ID": 4_301 + (number > 1), "FORUM_NAME": name}
        fields |= {"FORUM_TYPE": "QUESTION", "VISIBILITY": "PUBLIC", "FORUM_ORDER": str(number + 1)}
        yield _listed(story, "community_forums", number, fields)


def community_posts(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("community_posts"):
        counts = {"COMMENT_COUNT": 2, "VIEW_COUNT": number * 17 % 300, "FOLLOWER_COUNT": number % 5}
        counts |= {"UPVOTE_COUNT": number % 9, "DOWNVOTE_COUNT": 0}
        record |= {
            "FORUM_ID": 4_401 + number % len(_FORUMS),
            "POST_NAME": nth(TROUBLES, number),
            "MESSAGE": nth(SENTENCES, number),
            "STATUS": ("OPEN", "ANSWERED")[number % 2],
            "CREATED_CONTACT_ID": story.id("contacts", story.any("contacts")),
        }
        record |= dict.fromkeys(("PINNED", "FEATURED", "CLOSED", "PENDING", "SPAM"), False)
        record |= {name: str(count) for name, count in counts.items()}
        dated(record, story, created)
        yield record


def community_comments(story: Story) -> Iterator[Record]:
    for number, created, record in story.records("community_comments"):
        post = number % story.size["community_posts"]
        record |= {
            "POST_ID": story.id("community_posts", post),
            "FORUM_ID": 4_401 + post % len(_FORUMS),
            "BODY": nth(SENTENCES, number),
            "ANSWER": number % 4 == 0,
            "UPVOTE_COUNT": str(number % 6),
            "DOWNVOTE_COUNT": "0",
            "CREATED_CONTACT_ID": story.id("contacts", story.any("contacts")),
        }
        record |= dict.fromkeys(("SPAM", "PENDING", "OFFICIAL"), False)
        dated(record, story, created)
        yield record


def _listed(story: Story, entity: str, number: int, fields: Record) -> Record:
    """A record of a short list, created at the start of the account."""
    record = blank(entity) | fields
    dated(record, story, story.start + number)
    return record
