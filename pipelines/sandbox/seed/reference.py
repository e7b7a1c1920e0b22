"""The lists that no seed changes: countries, currencies, lead settings, pipelines, categories, custom fields."""

_COUNTRY_LIST = """
    Afghanistan; Aland Islands; Albania; Algeria; American Samoa; Andorra; Angola; Anguilla; Antarctica;
    Antigua and Barbuda; Argentina; Armenia; Aruba; Australia; Austria; Azerbaijan; Bahamas; Bahrain; Bangladesh;
    Barbados; Belarus; Belgium; Belize; Benin; Bermuda; Bhutan; Bolivia; Bonaire; Bosnia and Herzegovina; Botswana;
    Bouvet Island; Brazil; British Indian Ocean Territory; Brunei; Bulgaria; Burkina Faso; Burundi; Cambodia;
    Cameroon; Canada; Cape Verde; Cayman Islands; Central African Republic; Chad; Chile; China; Christmas Island;
    Cocos Islands; Colombia; Comoros; Congo; Congo (Democratic Republic); Cook Islands; Costa Rica; Croatia; Cuba;
    Curacao; Cyprus; Czech Republic; Denmark; Djibouti; Dominica; Dominican Republic; Ecuador; Egypt; El Salvador;
    Equatorial Guinea; Eritrea; Estonia; Eswatini; Ethiopia; Falkland Islands; Faroe Islands; Fiji; Finland; France;
    French Guiana; French Polynesia; French Southern Territories; Gabon; Gambia; Georgia; Germany; Ghana; Gibraltar;
    Greece; Greenland; Grenada; Guadeloupe; Guam; Guatemala; Guernsey; Guinea; Guinea-Bissau; Guyana; Haiti; Honduras;
    Hong Kong; Hungary; Iceland; India; Indonesia; Iran; Iraq; Ireland; Isle of Man; Israel; Italy; Ivory Coast;
    Jamaica; Japan; Jersey; Jordan; Kazakhstan; Kenya; Kiribati; Kosovo; Kuwait; Kyrgyzstan; Laos; Latvia; Lebanon;
    Lesotho; Liberia; Libya; Liechtenstein; Lithuania; Luxembourg; Macau; Madagascar; Malawi; Malaysia; Maldives;
    Mali; Malta; Marshall Islands; Martinique; Mauritania; Mauritius; Mayotte; Mexico; Micronesia; Moldova; Monaco;
    Mongolia; Montenegro; Montserrat; Morocco; Mozambique; Myanmar; Namibia; Nauru; Nepal; Netherlands; New Caledonia;
    New Zealand; Nicaragua; Niger; Nigeria; Niue; Norfolk Island; North Korea; North Macedonia;
    Northern Mariana Islands; Norway; Oman; Pakistan; Palau; Palestine; Panama; Papua New Guinea; Paraguay; Peru;
    Philippines; Pitcairn; Poland; Portugal; Puerto Rico; Qatar; Reunion; Romania; Russia; Rwanda; Saint Barthelemy;
    Saint Helena; Saint Kitts and Nevis; Saint Lucia; Saint Martin; Saint Pierre and Miquelon;
    Saint Vincent and the Grenadines; Samoa; San Marino; Sao Tome and Principe; Saudi Arabia; Senegal; Serbia;
    Seychelles; Sierra Leone; Singapore; Sint Maarten; Slovakia; Slovenia; Solomon Islands; Somalia; South Africa;
    South Georgia; South Korea; South Sudan; Spain; Sri Lanka; Sudan; Suriname; Svalbard; Sweden; Switzerland; Syria;
    Taiwan; Tajikistan; Tanzania; Thailand; Timor-Leste; Togo; Tokelau; Tonga; Trinidad and Tobago; Tunisia; Turkey;
    Turkmenistan; Turks and Caicos Islands; Tuvalu; Uganda; Ukraine; United Arab Emirates; United Kingdom;
    United States; Uruguay; Uzbekistan; Vanuatu; Vatican City; Venezuela; Vietnam; Virgin Islands (British);
    Virgin Islands (US); Wallis and Futuna; Western Sahara; Yemen; Zambia; Zimbabwe
"""

COUNTRIES = tuple(" ".join(name.split()) for name in _COUNTRY_LIST.split(";"))

_CURRENCY_LIST = """
    AED:د.إ ARS:$ AUD:$ BGN:лв BRL:R$ CAD:$ CHF:CHF CLP:$ CNY:¥ COP:$ CZK:Kč DKK:kr EUR:€ GBP:£ HKD:$ HUF:Ft IDR:Rp
    ILS:₪ INR:₹ JPY:¥ KRW:₩ MXN:$ MYR:RM NOK:kr NZD:$ PHP:₱ PLN:zł RON:lei SEK:kr SGD:$ THB:฿ TRY:₺ USD:$ ZAR:R
"""

CURRENCIES = {pair[:3]: pair[4:] for pair in _CURRENCY_LIST.split()}

ZONES = ("GMT Standard Time", "W. Europe Standard Time", "Central Standard Time", "Pacific Standard Time")

LEAD_SOURCES = ("Web form", "Trade fair", "Referral", "Cold call", "Newsletter", "Partner", "Webinar", "Purchased list")
LEAD_STATUSES = (
    ("Not contacted", 0),
    ("Attempted", 0),
    ("In conversation", 0),
    ("Nurturing", 0),
    ("Disqualified", 1),
    ("Converted", 2),
)

PIPELINES = (
    ("New business", True, False, ("Enquiry", "Qualified", "Needs known", "Offer sent", "Negotiation")),
    ("Renewals", True, False, ("Due", "Offer sent", "Verbal yes")),
    ("Delivery", False, True, ("Planned", "Kick-off", "In work", "Handover")),
)
STATE_REASONS = (
    ("WON", "Best fit"),
    ("WON", "Best price"),
    ("LOST", "Price"),
    ("LOST", "Chose another supplier"),
    ("LOST", "No budget"),
    ("ABANDONED", "No answer"),
    ("SUSPENDED", "Waiting for budget"),
)
CATEGORIES = {
    "opportunity_categories": ("Products", "Services"),
    "project_categories": ("Customer", "Internal"),
    "task_categories": ("Phone call", "E-mail", "Paperwork"),
    "file_categories": ("Contract", "Picture"),
}
CATEGORY_IDS = {entity: 7_001 + 100 * index for index, entity in enumerate(CATEGORIES)}
"""The first CATEGORY_ID of each."""
RELATIONSHIPS = (("is the manager of", "is managed by"), ("is a supplier of", "is a customer of"))

INSTANCE = {
    "INSTANCE_NAME": "Sandbox Trading",
    "INSTANCE_SUBDOMAIN": "sandbox-trading",
    "PLAN_NAME": None,
    "NEW_USER_EXPERIENCE_ENABLED": True,
}

CustomField = tuple[str, str, str, tuple[str, ...], str | None]
"""FIELD_FOR, FIELD_NAME, FIELD_TYPE, options, JOIN_OBJECT."""

CUSTOM_FIELDS: tuple[CustomField, ...] = (
    ("CONTACT", "Hobby__c", "TEXT", (), None),
    ("CONTACT", "Interests__c", "MULTISELECT", ("Music", "Sports", "Travel", "Food", "Books"), None),
    ("CONTACT", "Newsletter__c", "BIT", (), None),
    ("LEAD", "Campaign__c", "DROPDOWN", ("Spring", "Summer", "Autumn", "Winter"), None),
    ("LEAD", "Budget__c", "NUMERIC", (), None),
    ("OPPORTUNITY", "Deal_No__c", "AUTONUMBER", (), None),
    ("OPPORTUNITY", "Discount__c", "PERCENT", (), None),
    ("OPPORTUNITY", "Decision_Date__c", "DATE", (), None),
    ("ORGANISATION", "Tier__c", "DROPDOWN", ("Gold", "Silver", "Bronze"), None),
    ("ORGANISATION", "Renewal_Review__c", "DATETIME", (), None),
    ("ORGANISATION", "Delivery_Notes__c", "MULTILINETEXT", (), None),
    ("PROJECT", "Site_Code__c", "TEXT", (), None),
    ("TASK", "Billable__c", "BIT", (), None),
    ("EVENT", "Room__c", "DROPDOWN", ("Blue", "Green", "Video call"), None),
    ("PRODUCT", "Weight_Kg__c", "NUMERIC", (), None),
    ("QUOTE", "Approved__c", "BIT", (), None),
    ("TICKET", "Serial_No__c", "TEXT", (), None),
    ("PROSPECT", "Region__c", "DROPDOWN", ("North", "South"), None),
)
HOBBIES = ("Rowing", "Chess", "Pottery", "Cycling", "Choir", "Sailing", "Gardening", "Climbing")
