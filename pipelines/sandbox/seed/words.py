"""The words that make up names, titles and texts of generated records."""

from collections.abc import Sequence


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(";"))


def nth(words: Sequence[str], number: int) -> str:
    """The word at `number`, starting again after the last one."""
    return words[number % len(words)]


def email_address(first: str, last: str, domain: str) -> str:
    return f"{first}.{last}@{domain}".lower().replace("'", "")


FIRST = _words(
    "Ada Alma Amir Anneke Anton Aoife Arjun Astrid Bea Bram Bruno Camila Cedric Chidi Clara Cyrus Dagny Dalia Dario "
    "Dora Edda Elias Elif Emeka Enzo Esme Farah Felix Fiona Freya Gianna Goran Greta Hana Hector Hedda Hugo Ida Ilya "
    "Imogen Ines Ivo Jada Jarek Joana Jonas Juno Kaia Kamal Keiko Kofi Lara Leif Lena Linus Luca Lucia Mael Maeve "
    "Malik Marta Mateo Maya Milo Mina Nadia Nils Nina Noor Olga Omar Orla Otis Paolo Petra Pia Priya Quinn Rafael "
    "Ravi Remy Rosa Ruth Sami Selma Signe Silas Sofia Stefan Suki Talia Tariq Theo Tilda Tomas Uma Una Vera Viktor "
    "Wanda Willa Xenia Yara Yusuf Zane Zofia"
)

LAST = _words(
    "Abara Ahlgren Almeida Andric Asante Bachmann Balogun Banerjee Barlow Bellini Berglund Brandt Brennan Caldwell "
    "Cardoso Castellan Chaudhry Corrigan Cortes Dahl Dekker Demir Devlin Dimitrov Drummond Duarte Eastwood Ekström "
    "Eriksen Fairley Farouk Ferrand Fischer Fontaine Galvin Garrick Gladwell Gruber Haddad Hallam Hartwig Hayashi "
    "Hewitt Holloway Horvat Ibarra Iversen Jansen Jardine Kapoor Kaplan Keller Kerrigan Kimura Kovacs Lachance Lang "
    "Larkin Leclair Lindqvist Lombardi Mahoney Marchetti Mbeki Meyer Moreau Nakata Ndiaye Novak Nyberg O'Dell Okafor "
    "Olsen Orlov Osei Palmer Pascual Pereira Petrov Quigley Rahman Rasmussen Renner Ricci Romero Rossi Sandoval "
    "Santoro Schaefer Sethi Silva Sorensen Sterling Takeda Tanner Thorne Urban Vance Varga Vidal Voss Weaver Wendt "
    "Whitlock Winther Yamada Yilmaz Zeman Ziegler"
)

PLACE_WORDS = _words(
    "Alder Amber Anchor Aspen Beacon Birch Bluff Brook Canyon Cedar Clover Cobalt Copper Coral Crescent Delta Echo "
    "Ember Falcon Fern Granite Harbour Hazel Heron Indigo Ivory Juniper Kestrel Lantern Larch Linden Maple Meadow "
    "Mill Northern Oak Onyx Orchard Otter Pebble Pine Prairie Quarry Quartz Raven Ridge River Rowan Saffron Slate "
    "Spruce Summit Thistle Tidal Valley Willow Wren"
)

TRADES = _words(
    "Analytics Architects Bakery Biotech Brewing Builders Capital Ceramics Clinics Coatings Components Consulting "
    "Couriers Dairy Design Energy Engineering Farms Fabrics Films Foods Freight Furniture Gardens Glass Hardware "
    "Health Hotels Insurance Interiors Joinery Labs Legal Lighting Logistics Machinery Marine Media Metals Mobility "
    "Motors Networks Optics Packaging Papers Pharma Plastics Press Printing Properties Recycling Robotics Security "
    "Software Solar Studios Systems Textiles Timber Tools Travel Water"
)
SUFFIXES = _phrases("Ltd; GmbH; Inc; AB; Group; & Partners; BV; Co")

TITLES = _phrases(
    "Managing Director; Head of Sales; Purchasing Manager; Operations Manager; Finance Director; IT Manager; Office "
    "Manager; Project Lead; Marketing Manager; Plant Manager; Buyer; Chief of Staff; Product Manager; Service "
    "Manager; Founder"
)
INDUSTRIES = _phrases("Manufacturing; Retail; Healthcare; Logistics; Education; Finance; Construction; Energy; Media")

STREETS = _phrases(
    "Station Road; Mill Lane; High Street; Canal Quay; Garden Row; Market Square; Foundry Street; Chapel Hill; Lake "
    "View; Union Avenue; Harbour Walk; Orchard Way; Bridge Street; North Parade"
)

CITIES = (
    ("Bristol", "Avon", "BS", "United Kingdom", "+44 117"),
    ("Leeds", "West Yorkshire", "LS", "United Kingdom", "+44 113"),
    ("Hamburg", "Hamburg", "20", "Germany", "+49 40"),
    ("Leipzig", "Saxony", "04", "Germany", "+49 341"),
    ("Utrecht", "Utrecht", "35", "Netherlands", "+31 30"),
    ("Malmö", "Skåne", "21", "Sweden", "+46 40"),
    ("Lyon", "Rhône", "69", "France", "+33 4"),
    ("Porto", "Porto", "40", "Portugal", "+351 22"),
    ("Turin", "Piedmont", "10", "Italy", "+39 011"),
    ("Portland", "OR", "972", "United States", "+1 503"),
    ("Columbus", "OH", "432", "United States", "+1 614"),
    ("Austin", "TX", "787", "United States", "+1 512"),
    ("Halifax", "NS", "B3", "Canada", "+1 902"),
    ("Adelaide", "SA", "50", "Australia", "+61 8"),
    ("Sapporo", "Hokkaido", "060", "Japan", "+81 11"),
)

DEALS = _phrases(
    "annual contract; pilot; renewal; expansion; second site; support plan; starter package; upgrade; rollout"
)
PROJECTS = _phrases("onboarding; installation; migration; site survey; training; launch; audit; refit")

TASKS = _phrases(
    "Call {}; Send the quote to {}; Follow up with {}; Prepare the contract for {}; Check the invoice of {}; Book a "
    "visit to {}; Ask {} for feedback; Renew the agreement with {}"
)
EVENTS = _phrases("Meeting with {}; Demo for {}; Workshop at {}; Lunch with {}; Review with {}; Kick-off with {}")

NOTES = _phrases("Call summary; Meeting notes; Requirements; Open questions; Pricing talk; Site visit; Feedback")

SUBJECTS = _phrases(
    "Your offer of last week; Invoice; Delivery date; Question on the contract; Minutes of our call; Visit next week; "
    "Thank you; New contact person"
)

TROUBLES = _phrases(
    "Device does not start; Wrong amount on the invoice; Parcel arrived damaged; Cannot log in; Part is missing; How "
    "do I change the address?; Certificate has run out"
)

ARTICLES = _phrases(
    "Mounting a sensor; Resetting a controller; Reading an invoice; Cleaning the gateway; Changing the contact "
    "person; Storing spare parts; Renewing a licence"
)

SENTENCES = _phrases(
    "They want delivery before the end of the quarter.; The budget is approved, the contract is with their lawyer.; "
    "Asked for two references from the same industry.; Prefers a phone call to e-mail.; Needs an answer on the "
    "service level first.; The old supplier's contract ends in spring.; Compare with the offer of last year.; "
    "Decision is made by the board, next meeting in two weeks.; Price is fine, timing is the open point.; Wants a "
    "single invoice for all sites."
)

PRODUCT_WORDS = _phrases("Sensor; Gateway; Licence; Service plan; Controller; Training day; Mounting kit; Cable set")

FAMILIES = ("Hardware", "Software", "Services")

TAGS = {
    "contacts": _phrases("newsletter; decision maker; event 2025; champion; do not call; reference; partner"),
    "leads": _phrases("trade fair; webinar; hot; cold; web form; imported"),
    "opportunities": _phrases("upsell; renewal; strategic; discounted; at risk"),
    "organisations": _phrases("key account; supplier; reseller; public sector; at risk; west region"),
    "projects": _phrases("internal; fixed price; phase 2; on site"),
    "emails": _phrases("invoice; quote; complaint; urgent"),
    "tickets": _phrases("defect; delivery; billing"),
    "prospects": _phrases("trade fair; webinar; white paper"),
    "knowledge_articles": _phrases("setup; safety; accounts"),
}
