"""English phrases of the sample grammar. ``(a|b)`` is a choice, ``{slot}`` a filled-in word; both nest."""

# ruff: noqa: E501 - one phrase, one line
from __future__ import annotations

SLOTS: dict[str, tuple[str, ...]] = {
    "product": (
        "kettle", "desk lamp", "blender", "espresso machine", "headphones", "toaster", "air purifier", "office chair",
        "rice cooker", "vacuum cleaner", "electric toothbrush", "bookshelf", "frying pan", "smart plug", "tea set", "keyboard",
        "camping stove", "kids' bike", "bread knife", "wall clock", "fan heater", "garden hose", "monitor arm", "thermos bottle",
        "sewing machine", "door lock", "pressure cooker", "yoga mat", "suitcase", "string lights", "mirror", "wool blanket",
    ),
    "order": ("order {number}", "my order", "order no. {number}", "the order from {day}", "order #{number}", "the {product} order"),
    "day": ("Monday", "Tuesday", "Thursday", "last Friday", "the weekend", "yesterday", "the 3rd", "two weeks ago", "May 14"),
    "span": ("three days", "a week", "ten days", "two weeks", "nearly a month", "six days", "more than a fortnight", "ages"),
    "months": ("four months", "half a year", "eight months", "a year and a bit", "eleven months", "three months", "two years"),
    "price": ("{euros} euros", "€{euros}", "{euros}.90 EUR", "the whole amount", "{euros} quid"),
    "city": ("Leeds", "Graz", "Porto", "Utrecht", "Cork", "Lyon", "Malmö", "Bristol", "Turin", "Kraków"),
    "street": ("{small} Mill Road", "Harbour Lane {small}", "{small} Station Street", "the flat above, no. {small}", "{small}b Elm Close"),
    "colour": ("grey", "dark green", "white", "copper", "navy", "oak", "yellow"),
    "who": ("my mother", "a colleague", "my neighbour", "the previous tenant", "my husband", "our office"),
}  # fmt: skip

OPENINGS = (
    "Hi,", "Hello,", "Hello there,", "Good morning,", "Dear team,", "Hey", "Hi support,", "Dear Sir or Madam,", "Good evening.",
    "Quick question:", "Hello again,", "hiya", "To whom it may concern,",
)  # fmt: skip
CLOSINGS = (
    "Thanks.", "Thank you!", "Please advise.", "Many thanks in advance.", "Let me know.", "Kind regards", "Cheers", "thx",
    "Looking forward to your answer.", "Sorry for the trouble.", "Best wishes from {city}", "Please reply soon.",
    "It would be great to hear from you today.", "I am not in a hurry.", "Sent from my phone",
)  # fmt: skip
FILLERS = (
    "I bought a {product} from you on {day}.", "I have been a customer for {months}.", "It is about {order}.",
    "I already looked at the help pages.", "I hope I am right here.", "I wrote to you on {day} but got no answer.",
    "It was meant as a present.", "The order number is {number}.", "I paid {price}.", "My English is not so good, sorry.",
    "I tried the chat first, it sent me in circles.", "I am writing for {who}.", "This concerns the {colour} {product}.",
)  # fmt: skip
ANGRY = (
    "This is ridiculous!", "I am really angry now.", "What a joke of a shop.", "Unbelievable!!", "I have had enough of this.",
    "Do you even read these messages?", "Worst service I have ever seen.", "I want an answer TODAY.", "How hard can it be?!",
    "You are wasting my time.", "Absolutely useless.", "I'm furious.",
)  # fmt: skip
# A second matter that is mentioned in passing: the request stays that of the category.
ASIDES: dict[str, tuple[str, ...]] = {
    "refund": ("The refund for the {product} has arrived, thanks, this is something else.", "I don't need money back."),
    "delivery_late": ("It arrived late as well, but never mind.", "The parcel took {span}, by the way."),
    "cancel_order": ("I do not want to cancel anything.", "I had cancelled another order before."),
    "damaged_item": ("The box had a dent, but that is not why I write.", "The last one came scratched, I kept it."),
    "login_problem": ("I am logged in now, it took three attempts.", "Your login page is slow, too."),
    "change_address": ("We moved in spring, the address is already right.", "The address is correct, I checked."),
    "invoice": ("I have the invoice here.", "The receipt is attached."),
    "payment_failed": ("The payment went through at the second try.", "I paid by card."),
    "warranty": ("It still has warranty, I think.", "I registered the warranty at the time."),
    "product_question": ("I compared it with the {colour} one before.", "It is the larger model."),
    "account_deletion": ("I would rather keep my account.", "You may keep my data for this."),
    "complaint": ("Your colleague on the phone was friendly but could not help.", "I don't want to complain."),
}
EMERGING = (
    "I got a (text message|SMS|WhatsApp) (in your name|that claims to be from you) asking for {small} euros customs fee, is (this|that) real?",
    "Somebody (phoned|called) and said (he was|they were) from your shop and wanted my card number. Is this a (scam|fraud)?",
    "There is a (fake|copied) web page that looks like yours and (sells|offers) the {product} for {small} euros.",
    "(I clicked|My mother clicked) on a link in a (message|mail) about (a parcel|a prize) from your shop and now I am (worried|scared).",
    "A mail with your logo says that I won a {product} and should (enter|confirm) my bank details. (Phishing|Did you send it)?",
    "Are you aware that (someone|people) (is sending|are sending) (false|fake) delivery notices with your name?",
    "I entered my card on a link from an SMS about my parcel. (It was not you, was it|What should I do now)?",
    "Please warn your customers: (fraudsters|scammers) (pretend to be|pose as) your support on social media.",
    "A stranger knows my order number and wrote to me (on|over) WhatsApp to (confirm|verify) a payment, how is that possible?",
    "The QR code in the leaflet with my parcel leads to a page that wants my online banking password.",
)
