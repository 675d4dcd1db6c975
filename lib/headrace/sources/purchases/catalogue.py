"""What the generated shop sells, to where, and when: fixed lists, the same for every seed.

Quirks are modelled on UCI Online Retail (dataset 352, CC BY 4.0); no value of that file is copied but public
facts such as its span, its bank holidays and the shape of its outliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FIRST_DAY = date(2010, 12, 1)
LAST_DAY = date(2011, 12, 9)
OPENING_MINUTE = 8 * 60 + 26  # of the first invoice, on the first day
CLOSING_MINUTE = 12 * 60 + 50  # of the last invoice, on the last day

# Sundays are trading days here and Saturdays are not, as in the real file.
_HOLIDAYS = {
    *(date(2010, 12, 24) + timedelta(days=n) for n in range(11)),
    *(date(2011, 4, n) for n in (22, 24, 25, 29)),
    *(date(2011, 5, n) for n in (2, 30)),
    date(2011, 8, 29),
}
_SATURDAY = 5
# Invoices a trading day rise towards Christmas; one weight a month from December to December.
_MONTH_WEIGHTS = (101, 62, 58, 73, 83, 86, 77, 74, 67, 90, 101, 133, 127)

PRICE_LEVELS = 4  # of a product: list, bulk, without an account, free
LIST, BULK, GUEST, FREE = range(PRICE_LEVELS)

_COLOURS = (
    *("RED", "WHITE", "PINK", "BLUE", "GREEN", "IVORY", "CREAM", "SILVER", "BLACK", "VINTAGE", "RETROSPOT"),
    *("PAISLEY", "SKULL", "GINGHAM", "REGENCY"),
)
_THINGS = (
    *("BUNTING", "CAKE CASES", "LUNCH BAG", "TEA TOWEL", "T-LIGHT HOLDER", "WATER BOTTLE", "PICTURE FRAME"),
    *("ALARM CLOCK", "DOORMAT", "JAM JAR", "PARTY CANDLES", "TRINKET BOX", "WALL CLOCK", "CUSHION COVER"),
    *("GIFT WRAP", "SHOPPING BAG", "STORAGE TIN", "HOT WATER BOTTLE", "MUG", "SCARF", "APRON", "BIRD FEEDER"),
    *("DOOR SIGN", "DRAWER KNOB", "LANTERN", "MAGNET SET"),
)
_FORMS = ("", "LARGE", "SMALL", "SET OF 6", "PACK OF 72", "JUMBO", "MINI", "HANGING", "WOODEN", "FOLDING")
_PRICES = (290, 420, 550, 650, 850, 1250, 1250, 1450, 1650, 1650, 1950, 2080, 2100, 2550, 2950)
_DEAR_PRICES = (3750, 4150, 4950, 5950, 7950, 9950, 12750, 16950)

# What staff typed instead of a product's name when stock was written off.
REMARKS = ("check", "damaged", "damages", "?", "thrown away", "Unsaleable, destroyed.", "wet/rusty", 'sold as "1" set')

# code, description, list price in thousandths, share of lines
_ODD_PRODUCTS = (
    ("23843", "PAPER CRAFT , LITTLE BIRDIE", 2080, 1e-5),
    ("23166", "MEDIUM CERAMIC TOP STORAGE JAR", 1040, 4e-4),
    ("B", "Adjust bad debt", 11_062_060, 0.0),
    ("POST", "POSTAGE", 18_000, 2.3e-3),
    ("M", "Manual", 38_970, 1e-3),
    ("C2", "CARRIAGE", 50_000, 3e-4),
    ("PADS", "PADS TO MATCH ALL CUSHIONS", 1, 1e-5),
    ("gift_0001_20", "Dotcomgiftshop Gift Voucher £20.00", 16_670, 1e-4),
)
BIG_ORDER, CANCELLED_ORDER, BAD_DEBT = range(3)  # places of the first odd products

COUNTRIES = (
    *("United Kingdom", "Germany", "France", "EIRE", "Spain", "Netherlands", "Belgium", "Switzerland", "Portugal"),
    *("Australia", "Norway", "Italy", "Channel Islands", "Finland", "Cyprus", "Sweden", "Unspecified", "Austria"),
    *("Denmark", "Japan", "Poland", "Israel", "USA", "Hong Kong", "Singapore", "Iceland", "Canada", "Greece"),
    *("Malta", "United Arab Emirates", "European Community", "RSA", "Lebanon", "Lithuania", "Brazil"),
    *("Czech Republic", "Bahrain", "Saudi Arabia"),
)
DOMESTIC_SHARE = 0.905


@dataclass(frozen=True)
class Catalogue:
    """Products as parallel columns; `prices` are thousandths by product and level, `cumulative` their shares."""

    codes: tuple[str, ...]
    descriptions: tuple[str, ...]
    prices: Ints
    cumulative: Floats


def catalogue() -> Catalogue:
    """About 3,900 products; the odd ones come first, at the places named above."""
    codes = [code for code, _, _, _ in _ODD_PRODUCTS]
    descriptions = [text for _, text, _, _ in _ODD_PRODUCTS]
    prices = [price for _, _, price, _ in _ODD_PRODUCTS]
    for place, (thing, form, colour) in enumerate(product(_THINGS, _FORMS, _COLOURS)):
        codes.append(_code(place))
        descriptions.append(_description(place, thing, form, colour))
        ladder = _DEAR_PRICES if place % 7 in (2, 5) else _PRICES
        prices.append(ladder[place * 31 % len(ladder)])
    odd = np.array([share for _, _, _, share in _ODD_PRODUCTS])
    ordinary = len(codes) - len(odd)
    # A slow power law over the products in an order that has nothing to do with their names.
    ranks = np.argsort((np.arange(ordinary) * 1_103) % 4_001, kind="stable")
    popularity = (ranks + 20.0) ** -0.7
    shares = np.concatenate([odd, popularity / popularity.sum() * (1 - odd.sum())])
    return Catalogue(tuple(codes), tuple(descriptions), _price_levels(np.array(prices)), np.cumsum(shares))


def trading_days() -> tuple[tuple[date, ...], Floats]:
    """The days with invoices, in order, and the cumulative share of invoices up to each."""
    span = (FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1))
    days = tuple(day for day in span if day.weekday() != _SATURDAY and day not in _HOLIDAYS)
    weights = np.array([_MONTH_WEIGHTS[(day.year - 2010) * 12 + day.month - 12] for day in days], dtype=float)
    cumulative = np.cumsum(weights)
    return days, cumulative / cumulative[-1]


def _code(place: int) -> str:
    number = 20_000 + place * 16 % 68_003
    # Pairs of codes that differ in case alone: two products to a machine, one to a shopkeeper.
    if place % 36 == 8:
        return f"{20_000 + (place - 1) * 16 % 68_003}b"
    return f"{number}B" if place % 36 == 7 else str(number)


def _description(place: int, thing: str, form: str, colour: str) -> str:
    if place % 110 == 3:
        return f"{colour} {thing}, {form or 'ASSORTED'}"
    if place % 430 == 5:
        return f'{thing} "{colour}" {form}'.rstrip()
    text = " ".join(part for part in (form, colour, thing) if part)
    if place % 400 == 9:
        return f" {text}"
    return f"{text} " if place % 5 == 1 else text


def _price_levels(listed: Ints) -> Ints:
    levels = np.zeros((len(listed), PRICE_LEVELS), dtype=np.int64)
    levels[:, LIST] = listed
    # Whole pence, as on a price tag; the one product below a penny keeps its price.
    levels[:, BULK] = np.where(listed < 10, listed, listed * 85 // 1000 * 10)
    levels[:, GUEST] = np.where(listed < 10, listed, listed * 193 // 1000 * 10)
    return levels
