"""How many tickets of a listing are sold: a regression on the rows of a warehouse's query.

Source: the published walkthrough of Amazon Machine Learning on Amazon Redshift; its target is `totalsold`.
"""

from __future__ import annotations

from headrace.algebra import Count, Mean, Sum
from headrace.definitions.definition import Definition, Stream, Table
from headrace.evaluate.splitting import Splitting
from headrace.models.linear import LinearRegression
from headrace.transforms import tickets

sales = Definition(
    name="sales",
    entity="event_id",
    event_time="list_time",
    source=Stream("listings", schema=tickets.LISTING, history=Table("tickit")),
    prepare=tickets.with_numbers,
    features={"listings": Count(), "tickets_offered": Sum("num_tickets"), "price_per_ticket": Mean("price_per_ticket")},
    learner=LinearRegression(tickets.NUMBERS, ridge=0.001),
    target="totalsold",
    training=Splitting(0, 70),
)
