"""Customer segmentation: recency, frequency and monetary value, their quintile scores, and k-means clusters.

Source: the published walkthrough of customer segmentation on Amazon Keyspaces; UCI Online Retail is its data.
"""

from __future__ import annotations

from headrace.algebra import CountDistinct, DaysSince, Max, Sum
from headrace.definitions.definition import Definition, Stream, Table, fixed
from headrace.models.kmeans import KMeans
from headrace.transforms import retail, rfm

segments = Definition(
    name="segments",
    entity="customer_id",
    event_time="invoice_date",
    # The day of the last purchase in Online Retail, and the reference date of the study.
    clock=fixed("2011-12-09"),
    source=Stream("purchases", schema=retail.PURCHASE, history=Table("online_retail")),
    prepare=retail.clean,
    features={
        "recency": DaysSince(Max("invoice_date")),
        "frequency": CountDistinct("invoice"),
        # Prices have at most three decimals.
        "monetary": Sum("total_price", step="0.001"),
    },
    learner=KMeans(k=6, scale="min-max"),
    derive=rfm.scores_and_segment,
)
