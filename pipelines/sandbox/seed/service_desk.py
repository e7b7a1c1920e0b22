"""The records of the service desk: tickets, what customers read and what they write, written from the story."""

from collections.abc import Iterator

from pipelines.sandbox.store.shapes import Record, blank

from .people import custom, dated, stamped, tags
from .story import Story
from .words import ARTICLES, SENTENCES, TROUBLES

SHELVES = (("Devices", ("Sensors", "Controllers")), ("Business", ("Invoices", "Contracts")))
"""Categories of articles, and the folders of each."""
FORUMS = (("Customers", ("Questions", "Ideas")), ("Partners", ("Resale",)))
"""Categories of forums, and the forums of each."""
_FOLDERS = [folder for _, folders in SHELVES for folder in folders]
_FORUMS = [forum for _, forums in FORUMS for forum in forums]


def tickets(story: Story) -> Iterator[Record]:
    random, calendar = story.rng.random, story.calendar
    created_at = story.more("tickets")
    for number, created in enumerate(created_at):
        record, contact = blank("tickets"), story.earlier("contacts", number / len(created_at))
        created = max(created, story.created["contacts"][contact])
        solved = created + int((1 + 20 * random()) * 86_400)
        record["TICKET_ID"], record["TICKET_NUMBER"] = story.id("tickets", number), str(number + 1)
        record["CONTACT_ID"] = story.id("contacts", contact)
        record["ORGANISATION_ID"] = story.id("organisations", story.employer[contact])
        record["SUBJECT"], record["TICKET_TYPE"] = TROUBLES[number % len(TROUBLES)], ("PROBLEM", "QUESTION")[number % 2]
        record["PRIORITY"], record["SOURCE"] = (
            ("LOW", "NORMAL", "HIGH")[int(random() * 3)],
            ("EMAIL", "PORTAL")[number % 2],
        )
        record["TicketCommentBodyHtml"] = f"<p>{SENTENCES[number % len(SENTENCES)]}</p>"
        closed = solved < story.now
        record["TICKET_STATUS"] = "CLOSED" if closed else "OPEN"
        record["DATE_SOLVED_UTC"] = record["DATE_CLOSED_UTC"] = calendar.at(solved) if closed else None
        dated(record, story, created, solved if closed else None)
        custom(record, Serial_No__c=f"SN{number * 7_919 % 100_000:05}" if number % 3 else None)
        record["TAGS"] = tags(story, "tickets")
        yield record


def knowledge_article_categories(story: Story) -> Iterator[Record]:
    for number, (name, _) in enumerate(SHELVES):
        record = blank("knowledge_article_categories")
        record |= {"CATEGORY_ID": 4_101 + number, "CATEGORY_NAME": name, "DESCRIPTION": f"All about {name.lower()}"}
        yield stamped(record, story, story.start + number)


def knowledge_article_folders(story: Story) -> Iterator[Record]:
    for number, name in enumerate(_FOLDERS):
        record = blank("knowledge_article_folders")
        record |= {"FOLDER_ID": 4_201 + number, "FOLDER_NAME": name, "CATEGORY_ID": str(4_101 + _shelf(number))}
        record |= {"VISIBILITY": "PUBLIC", "ORDER_ARTICLES": "MANUAL"}
        yield stamped(record, story, story.start + number)


def knowledge_articles(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.more("knowledge_articles")):
        record, folder = blank("knowledge_articles"), number % len(_FOLDERS)
        title = f"{ARTICLES[number % len(ARTICLES)]}, part {number // len(ARTICLES) + 1}"
        record["ARTICLE_ID"], record["ARTICLE_NO"] = story.id("knowledge_articles", number), number + 1
        record["FOLDER_ID"], record["CATEGORY_ID"] = 4_201 + folder, 4_101 + _shelf(folder)
        record["ArticleVersion"], record["Language"], record["ExternalLinkCount"] = "1", "en", "0"
        record["Title"], record["URL_SLUG"] = title, title.lower().replace(",", "").replace(" ", "-")
        record["Body"] = f"<p>{SENTENCES[number % len(SENTENCES)]}</p>"
        record["UPVOTE_COUNT"], record["DOWNVOTE_COUNT"], record["PROMOTED"] = (
            number * 3 % 20,
            number % 3,
            number % 7 == 0,
        )
        published = number % 5 != 4
        record["Status"] = "PUBLISHED" if published else "DRAFT"
        dated(record, story, created)
        record["FIRST_PUBLISHED_DATE_UTC"] = record["DATE_CREATED_UTC"] if published else None
        record["LAST_PUBLISHED_DATE_UTC"] = record["DATE_UPDATED_UTC"] if published else None
        record["TAGS"] = tags(story, "knowledge_articles")
        yield record


def forum_categories(story: Story) -> Iterator[Record]:
    for number, (name, _) in enumerate(FORUMS):
        record = blank("forum_categories") | {"FORUM_CATEGORY_ID": 4_301 + number, "CATEGORY_NAME": name}
        yield stamped(record, story, story.start + number)


def community_forums(story: Story) -> Iterator[Record]:
    for number, name in enumerate(_FORUMS):
        record = blank("community_forums")
        record |= {"FORUM_ID": 4_401 + number, "FORUM_CATEGORY_ID": 4_301 + (number > 1), "FORUM_NAME": name}
        record |= {"FORUM_TYPE": "QUESTION", "VISIBILITY": "PUBLIC", "FORUM_ORDER": str(number + 1)}
        yield stamped(record, story, story.start + number)


def community_posts(story: Story) -> Iterator[Record]:
    for number, created in enumerate(story.more("community_posts")):
        record = blank("community_posts")
        record["POST_ID"], record["FORUM_ID"] = story.id("community_posts", number), 4_401 + number % len(_FORUMS)
        record["POST_NAME"], record["MESSAGE"] = TROUBLES[number % len(TROUBLES)], SENTENCES[number % len(SENTENCES)]
        record["STATUS"] = ("OPEN", "ANSWERED")[number % 2]
        record |= dict.fromkeys(("PINNED", "FEATURED", "CLOSED", "PENDING", "SPAM"), False)
        counts = {"COMMENT_COUNT": 2, "VIEW_COUNT": number * 17 % 300, "FOLLOWER_COUNT": number % 5}
        record |= {
            name: str(count) for name, count in {**counts, "UPVOTE_COUNT": number % 9, "DOWNVOTE_COUNT": 0}.items()
        }
        record["CREATED_CONTACT_ID"] = story.id("contacts", story.any("contacts"))
        yield stamped(record, story, created)


def community_comments(story: Story) -> Iterator[Record]:
    posts = story.many("community_posts")
    for number, created in enumerate(story.more("community_comments")):
        record, post = blank("community_comments"), number % posts
        record["COMMENT_ID"], record["POST_ID"] = (
            story.id("community_comments", number),
            story.id("community_posts", post),
        )
        record["FORUM_ID"], record["BODY"] = 4_401 + post % len(_FORUMS), SENTENCES[number % len(SENTENCES)]
        record["ANSWER"] = number % 4 == 0
        record |= dict.fromkeys(("SPAM", "PENDING", "OFFICIAL"), False)
        record["UPVOTE_COUNT"], record["DOWNVOTE_COUNT"] = str(number % 6), "0"
        record["CREATED_CONTACT_ID"] = story.id("contacts", story.any("contacts"))
        yield stamped(record, story, created)


def _shelf(folder: int) -> int:
    return folder // 2
