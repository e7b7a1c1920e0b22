"""The table of facts about the entities of Insightly API v3.1: one frozen row per entity, without behaviour.

Defaults describe the usual entity, so a row shows what is unusual. Paths, keys and abilities are from the vendor's
Swagger 2.0 file; a comment above a row says where live responses differ from it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from .fields import Field, FieldType, child_fields, fields_of, table_text

DATE_CREATED, DATE_UPDATED = "DATE_CREATED_UTC", "DATE_UPDATED_UTC"
COMPUTED_FROM = {"OPPORTUNITY_VALUE": "BID_AMOUNT", "COMPLETED_DATE_UTC": "COMPLETED"}
"""Read-only field -> the field to write in its place, on entities that have both."""
UNVERSIONED = frozenset(
    {
        *(DATE_UPDATED, "LAST_ACTIVITY_DATE_UTC", "NEXT_ACTIVITY_DATE_UTC"),
        *("PAGE_VIEW_COUNT", "LAST_PAGE_VIEW_DATE_UTC", "VIEW_COUNT"),
    }
)
"""Fields that change without an edit of the record (api.md 1.3): a change of these alone makes no new version."""
METADATA = frozenset({"ETag", "ETAG"})
"""Keys of a response's records that are not properties of the record, and do not become columns (api.md 1.3)."""
SAME = "same"
OBJECTS, RECORDS = "custom_objects", "custom_object_records"
"""The entity with the definitions of custom objects, and the entity that stands for the records of all of them."""
_OBJECT = re.compile(r"[A-Za-z][A-Za-z0-9_]*__[Cc]")
RECORD_TYPES = ("contacts", "leads", "opportunities", "organisations", "projects", "emails")
"""The values that `/Tags?record_type=` accepts; the response to any other value, or none, is 400."""

ReadMode = Literal["incremental", "full", "reference", "object", "per_parent", "embedded"]
"""How an entity is read.

incremental  what changed since the watermark: `/Search` filters by the cursor.
full         the whole list, merged block by block: there is no cursor, and the list may be long or has child tables.
reference    the whole list, which is short and is replaced when it changed.
object       one object, not a list.
per_parent   one call per parent record.
embedded     not by itself: other records carry it in an array.
"""


@dataclass(frozen=True)
class Entity:
    """One collection.

    Args:
        name: of its table, as a user types it.
        path: of its list; `{id}` in it is that of a parent record.
        keys: the fields that identify a record, separated by blanks.
        can: one letter per ability: S search (hence the filter `updated_after_utc`), G get by id, C create, U update,
            D delete.
        cursor: the date by which changes are read; by default `DATE_UPDATED_UTC` if there is a search.
        paged: whether the list takes `top` and `skip`.
        brief: whether the list takes `brief=true`; by default if there is a search.
        children: the arrays of a record that become child tables, separated by blanks.
        custom_fields: whether records have CUSTOMFIELDS.
        params: further parameters of the list.
        get, create, update, delete: paths where they are not the usual ones.
        plan: which subscription has the collection. A status in it, 403 or 404, is the sandbox's answer without it.
        read: how it is read; by default, what follows from path, abilities and cursor.
        rows: the array whose items are the rows of an object.
        embedded: the array of other entities' records that has the rows.
        object_name: the API's name of a custom object.
    """

    name: str
    path: str
    keys: str
    can: str = "SGCUD"
    cursor: str | None = SAME
    paged: bool = True
    brief: bool | None = None
    children: str = ""
    custom_fields: bool = False
    params: tuple[tuple[str, str], ...] = ()
    get: str | None = SAME
    create: str | None = SAME
    update: str | None = SAME
    delete: str | None = SAME
    plan: str = ""
    read: ReadMode = "reference"
    rows: str = ""
    embedded: str = ""
    object_name: str = ""

    def __post_init__(self) -> None:
        one = f"{self.path}/{{id}}"
        for ability, path in {"get": one, "create": self.path, "update": self.path, "delete": one}.items():
            if getattr(self, ability) is SAME:
                object.__setattr__(self, ability, path if ability[0].upper() in self.can else None)
        if self.cursor is SAME:
            object.__setattr__(self, "cursor", DATE_UPDATED if "S" in self.can else None)
        if self.read == "reference":
            object.__setattr__(self, "read", self._usual_read())
        if self.brief is None:
            object.__setattr__(self, "brief", "S" in self.can)

    def _usual_read(self) -> ReadMode:
        if self.embedded:
            return "embedded"
        if "{id}" in self.path:
            return "per_parent"
        # The plain list ignores the filter by the cursor.
        return "incremental" if "S" in self.can and self.cursor is not None else "reference"

    @cached_property
    def key(self) -> tuple[str, ...]:
        return tuple(self.keys.split())

    @property
    def identity(self) -> str | tuple[str, ...]:
        """The field that identifies a record, or the fields that do so together."""
        return self.key if len(self.key) > 1 else self.key[0]

    @cached_property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of a record that become child tables."""
        return tuple(self.children.split())

    @property
    def search_path(self) -> str | None:
        return f"{self.path}/Search" if "S" in self.can else None

    @property
    def swept(self) -> bool:
        """Whether a sweep marks deleted records, after a call for each; other lists are replaced."""
        return self.read in ("incremental", "full", "per_parent")

    @property
    def cursor_documented(self) -> bool:
        """Whether the API documents the cursor; if not, records may lack it (api.md 7.4)."""
        field = self.fields.get(self.cursor or "")
        return field is not None and "undocumented" not in field.flags

    def read_in_blocks(self, since: str | None) -> bool:
        """Whether blocks of the list that have not changed are skipped, where `since` asks for no changes alone."""
        return self.read == "full" or (since is None and not self.cursor_documented)

    @property
    def tagged(self) -> bool:
        return "TAGS" in self.arrays

    @cached_property
    def without_tags(self) -> "Entity":
        """The same entity without the child table of tags."""
        return replace(self, children=" ".join(array for array in self.arrays if array != "TAGS"))

    @cached_property
    def read_parents(self) -> tuple[str, ...]:
        """The parent entities for whose records it is read, one call per record. Those without a list are left out."""
        lists = {entity.path: entity.name for entity in _TABLE if "{" not in entity.path}
        paths = self.path.partition("/")[0].strip("{}").split("|") if self.read == "per_parent" else ()
        return tuple(lists[path] for path in paths if path in lists)

    @property
    def sub_path(self) -> str:
        """The end of its path, after the id of a parent's record."""
        return self.path.rpartition("/")[2]

    @cached_property
    def parent_key(self) -> "MappingProxyType[str, FieldType]":
        """The columns that identify the parent's record of a row, with their types; empty for most entities."""
        if len(self.read_parents) == 1:
            (key,) = ENTITIES[self.read_parents[0]].key
            return MappingProxyType({key: self.fields[key].type if key in self.fields else "integer"})
        several: dict[str, FieldType] = {"PARENT_TYPE": "string", "PARENT_ID": "integer"}
        return MappingProxyType(several if self.read_parents else {})

    def parent_values(self, entity: "Entity", id_: int) -> Mapping[str, Any]:
        """The values of `parent_key` for rows read for a record of `entity`."""
        if len(self.parent_key) > 1:
            return {"PARENT_TYPE": entity.name, "PARENT_ID": id_}
        return {key: str(id_) if kind == "string" else id_ for key, kind in self.parent_key.items()}

    @cached_property
    def fields(self) -> "MappingProxyType[str, Field]":
        if self.rows:
            return child_fields(self.rows)
        return fields_of("entities", RECORDS if self.object_name else self.name, self.embedded)

    @cached_property
    def description(self) -> str:
        """What one of its records is, in a sentence."""
        return table_text(RECORDS if self.object_name else self.name)

    @cached_property
    def writable(self) -> frozenset[str]:
        """The fields that a create or an update may set."""
        stamps = {DATE_CREATED, DATE_UPDATED, *self.key}
        return frozenset(n for n, field in self.fields.items() if "read_only" not in field.flags and n not in stamps)

    @cached_property
    def create_parents(self) -> tuple[str, ...]:
        """The entities under whose records it is created, by the names of their paths; empty for most."""
        paths = re.match(r"\{([\w|]+)\}/\{id\}/", self.create or "")
        return tuple(paths[1].lower().split("|")) if paths else ()

    @cached_property
    def field_for(self) -> str:
        """The name of this entity in `FIELD_FOR` of a custom field's definition: upper case and singular."""
        return self.object_name.upper() or self.key[0].removesuffix("_ID")

    def matches_name(self, name: object) -> bool:
        """Whether `name`, the `FIELD_FOR` of a definition or the `OBJECT_TYPE` of a permission, is this entity.

        CONTACT and FRUIT__C are from live data (api.md 4.3); the others are Swagger's names of key, path and model.
        """
        return isinstance(name, str) and _compact(name) in self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        names = {_compact(name) for name in (self.path, self.name, *([self.field_for] if self.custom_fields else ()))}
        singular = {f"{name[:-3]}Y" if name.endswith("IES") else name.removesuffix("S") for name in names}
        return frozenset(names | singular)


def _compact(name: str) -> str:
    return name.replace("_", "").upper()


_SERVICE = "Service feature; 403 without it."
_PRICED = "404 on Professional."

_TABLE = (
    Entity("contacts", "Contacts", "CONTACT_ID", children="TAGS DATES LINKS", custom_fields=True),
    Entity("countries", "Countries", "COUNTRY_NAME", can="", paged=False),
    Entity("currencies", "Currencies", "CURRENCY_CODE", can="", paged=False),
    Entity("events", "Events", "EVENT_ID", children="LINKS", custom_fields=True),
    # DELETE takes the id as a query parameter; there is no GET by id.
    Entity("lead_sources", "LeadSources", "LEAD_SOURCE_ID", can="CUD", delete="LeadSources?id={id}"),
    # Without include_converted the list lacks the status that converted leads refer to.
    Entity(
        "lead_statuses",
        "LeadStatuses",
        "LEAD_STATUS_ID",
        can="CUD",
        params=(("include_converted", "true"),),
        delete="LeadStatuses?id={id}",
    ),
    # Live leads have LINKS, although the Swagger model has none and there is no /Leads/{id}/Links.
    Entity("leads", "Leads", "LEAD_ID", children="TAGS LINKS", custom_fields=True),
    # There is no POST /Notes: a note is created under its parent.
    Entity(
        "notes",
        "Notes",
        "NOTE_ID",
        children="LINKS",
        create="{Contacts|Leads|Opportunities|Organisations|Projects}/{id}/Notes",
    ),
    Entity("opportunities", "Opportunities", "OPPORTUNITY_ID", children="TAGS LINKS", custom_fields=True),
    Entity(
        "organisations",
        "Organisations",
        "ORGANISATION_ID",
        children="TAGS DATES EMAILDOMAINS LINKS",
        custom_fields=True,
    ),
    Entity("pipeline_stages", "PipelineStages", "STAGE_ID", can="G"),
    Entity("pipelines", "Pipelines", "PIPELINE_ID", can="G"),
    # Singular path: /Products answers 405.
    Entity(
        "products",
        "Product",
        "PRODUCT_ID",
        custom_fields=True,
        plan="Needs the products/price book feature (Enterprise); 404 on Professional.",
    ),
    Entity("projects", "Projects", "PROJECT_ID", children="TAGS LINKS", custom_fields=True),
    # A row has only TAG_NAME; RECORD_TYPE is the one of the request.
    Entity(
        "tags",
        "Tags",
        "RECORD_TYPE TAG_NAME",
        can="CUD",
        create="{Object}/{id}/Tags",
        update="{Object}/{id}/Tags",
        delete="{Object}/{id}/Tags (JSON body)",
    ),
    Entity("tasks", "Tasks", "TASK_ID", children="LINKS", custom_fields=True),
    Entity("users", "Users", "USER_ID", can="SG", brief=False),
    Entity("activity_sets", "ActivitySets", "ACTIVITYSET_ID", can="G", brief=True, children="ACTIVITIES", read="full"),
    Entity(
        "comments",
        "{Notes|Tasks|Emails}/{id}/Comments",
        "COMMENT_ID",
        can="CUD",
        cursor=DATE_UPDATED,
        update="Comments",
        delete="Comments/{id}",
    ),
    Entity(
        "custom_fields",
        "CustomFields/{objectName}",
        "FIELD_FOR FIELD_NAME",
        can="G",
        paged=False,
        children="CUSTOM_FIELD_OPTIONS",
        get="CustomFields/{objectName}/Search?fieldName=",
    ),
    Entity(
        OBJECTS,
        "CustomObjects",
        "OBJECT_NAME",
        can="G",
        paged=False,
        cursor=DATE_UPDATED,
        get="CustomObjects/{customObjectName}",
        plan="Enterprise-level feature",
    ),
    # Stands for the records of all custom objects; each object has its own table and state.
    Entity(RECORDS, "{objectName}", "RECORD_ID", custom_fields=True),
    # /Search accepts the filter, but records have no DATE_UPDATED_UTC.
    Entity("document_templates", "DocumentTemplates", "TEMPLATE_ID", can="SG", cursor=None, read="full"),
    Entity("emails", "Emails", "EMAIL_ID", can="SGD", cursor=None, children="TAGS LINKS", read="full"),
    Entity(
        "file_attachments",
        "{Contacts|Leads|Opportunities|Organisations|Projects|Notes|Emails|Comments}/{id}/FileAttachments",
        "FILE_ID",
        can="GCD",
        cursor=DATE_UPDATED,
        get="FileAttachments/{id}",
        create="{Object}/{id}/FileAttachments",
        delete="FileAttachments/{id}",
    ),
    Entity("file_categories", "FileCategories", "CATEGORY_ID", can="GCUD"),
    Entity("follows", "Follows", "RECORD_TYPE RECORD_ID", can=""),
    Entity("instance", "Instance", "INSTANCE_NAME", can="", paged=False, read="object"),
    Entity("knowledge_articles", "KnowledgeArticle", "ARTICLE_ID", children="TAGS", custom_fields=True, plan=_SERVICE),
    Entity("knowledge_article_categories", "KnowledgeArticleCategory", "CATEGORY_ID", can="SGCU", plan=_SERVICE),
    Entity("knowledge_article_folders", "KnowledgeArticleFolder", "FOLDER_ID", can="SGCU", plan=_SERVICE),
    Entity(
        "milestones",
        "Milestones",
        "MILESTONE_ID",
        create="Projects/{id}/Milestones",
        update="Projects/{id}/Milestones",
        delete="Projects/{id}/Milestones/{milestoneId}",
    ),
    Entity("opportunity_categories", "OpportunityCategories", "CATEGORY_ID", can="GCUD"),
    Entity(
        "opportunity_line_items",
        "OpportunityLineItem",
        "OPPORTUNITY_ITEM_ID",
        custom_fields=True,
        create="Opportunities/{id}/OpportunityLineItem",
        update="Opportunities/{id}/OpportunityLineItem",
        delete="Opportunities/{id}/OpportunityLineItem/{childEntityId}",
        plan=_PRICED,
    ),
    Entity(
        "opportunity_state_history",
        "Opportunities/{id}/StateHistory",
        "OPPORTUNITY_ID DATE_CHANGED_UTC FOR_OPPORTUNITY_STATE",
        can="C",
        paged=False,
        create="Opportunities/{id}/StateChange (PUT)",
    ),
    Entity("opportunity_state_reasons", "OpportunityStateReasons", "STATE_REASON_ID", can=""),
    Entity("permissions", "Permissions", "OBJECT_TYPE", can="", paged=False, read="object", rows="OBJECT_PERMISSIONS"),
    Entity("pricebooks", "Pricebook", "PRICEBOOK_ID", can="SGCU", plan=_PRICED),
    Entity(
        "pricebook_entries",
        "PricebookEntry",
        "PRICEBOOK_ENTRY_ID",
        custom_fields=True,
        create="Pricebook/{id}/PricebookEntry or /Product/{id}/PricebookEntry",
        update="Pricebook/{id}/PricebookEntry or /Product/{id}/PricebookEntry",
        delete="Pricebook/{id}/PricebookEntry/{childEntityId}",
        plan=_PRICED,
    ),
    Entity("project_categories", "ProjectCategories", "CATEGORY_ID", can="GCUD"),
    Entity(
        "prospects",
        "Prospect",
        "PROSPECT_ID",
        children="TAGS",
        custom_fields=True,
        plan="Marketing feature; 403 without it.",
    ),
    # The path "Quote" fails.
    Entity("quotes", "Quotation", "QUOTE_ID", custom_fields=True, plan=_PRICED),
    Entity(
        "quote_line_items",
        "QuotationLineItem",
        "QUOTATION_ITEM_ID",
        custom_fields=True,
        create="Quotation/{id}/QuotationLineItem",
        update="Quotation/{id}/QuotationLineItem",
        delete="Quotation/{id}/QuotationLineItem/{childEntityId}",
        plan=_PRICED,
    ),
    Entity("relationships", "Relationships", "RELATIONSHIP_ID", can=""),
    Entity("task_categories", "TaskCategories", "CATEGORY_ID", can="GCUD"),
    # Records have DATE_UPDATED_UTC, but there is no /Search to filter by it.
    Entity(
        "teams", "Teams", "TEAM_ID", can="GCUD", brief=True, cursor=DATE_UPDATED, children="TEAMMEMBERS", read="full"
    ),
    # Not MEMBER_USER_ID: a user may be in several teams.
    Entity("team_members", "TeamMembers", "PERMISSION_ID", can="GCD", read="full"),
    Entity("tickets", "Ticket", "TICKET_ID", children="TAGS", custom_fields=True, plan=_SERVICE),
    Entity("ticket_comments", "Ticket/{id}/Comments", "TICKET_COMMENT_ID", can="C"),
    Entity("contact_dates", "Contacts/{id}/Dates", "DATE_ID", can="U", paged=False, embedded="DATES"),
    Entity(
        "email_domains",
        "Organisations/{id}/EmailDomains",
        "EMAIL_DOMAIN_ID",
        can="U",
        paged=False,
        embedded="EMAILDOMAINS",
    ),
    Entity(
        "links",
        "Contacts/{id}/Links",
        "LINK_ID",
        can="CUD",
        paged=False,
        embedded="LINKS",
        create="{Object}/{id}/Links",
        update="{Object}/{id}/Links (not Emails, Events, Notes, Tasks)",
        delete="{Object}/{id}/Links/{linkId}",
    ),
    # GET of MarketingVisits/{id} answers the visits of a prospect: no call returns one visit.
    Entity("marketing_visits", "MarketingVisits", "VISIT_ID", can="", read="full"),
    Entity(
        "static_list_memberships",
        "Prospect/{id}/StaticListMembership",
        "LIST_ID",
        can="CUD",
        paged=False,
        delete="Prospect/{id}/StaticListMembership (body)",
    ),
    Entity(
        "quotation_documents",
        "Quotation/{id}/QuotationDocument",
        "QUOTE_DOCUMENT_ID",
        can="D",
        paged=False,
        delete="Quotation/{id}/QuotationDocument/{childEntityId}",
    ),
    Entity("community_forums", "CommunityForums", "FORUM_ID", can="SGCU", plan=_SERVICE),
    Entity("community_posts", "CommunityPosts", "POST_ID", can="SGCU", plan=_SERVICE),
    Entity("community_comments", "CommunityComments", "COMMENT_ID", can="SGCU", plan=_SERVICE),
    Entity("forum_categories", "ForumCategories", "FORUM_CATEGORY_ID", can="SG", plan=_SERVICE),
)

ENTITIES: "MappingProxyType[str, Entity]" = MappingProxyType({entity.name: entity for entity in _TABLE})


def custom_object(object_name: str, name: str) -> Entity:
    """The entity of one custom object, named `name`: it has the generic routes with the object's name in them."""
    facts = ENTITIES[RECORDS]
    return Entity(name, object_name, facts.keys, custom_fields=facts.custom_fields, object_name=object_name)


def is_custom_object(name: str) -> bool:
    """Whether a name has the form of a custom object's name; only the API knows whether that object exists."""
    return _OBJECT.fullmatch(name) is not None
